"""Builds the package's part in C (``bridge/source/_stencil.c``), where that can be done.

The package works without it, only slower, so what cannot be compiled is left out with a warning.
``FAL_LOG_BRIDGE_PURE=1`` leaves it out, ``FAL_LOG_BRIDGE_PURE=0`` insists on it.

A wheel with it is for every CPython from 3.11 on (the limited API, PEP 384) of one platform; a
wheel without it is for all. Beside an editable install the module lies in the checkout.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, Final, cast

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.builders.wheel import WheelBuilder
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError, PlatformError

_MODULE: Final = "bridge.source._stencil"
_SOURCE: Final = "bridge/source/_stencil.c"
_COMPILED: Final = "bridge/source/_stencil.abi3.so"
_WISH: Final = "FAL_LOG_BRIDGE_PURE"


class CompileHook(BuildHookInterface[BuilderConfig]):
    """What hatchling calls before and after it puts a wheel together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; ``version`` is ``standard`` or ``editable``."""
        self._folder = tempfile.TemporaryDirectory()
        beside = Path(self.root, _COMPILED)
        if version == "editable":
            beside.unlink(missing_ok=True)  # one of other sources must not stay
        compiled = self._compiled()
        if not compiled:
            return
        if version == "editable":
            shutil.copyfile(compiled, beside)
            return
        build_data["tag"] = f"cp311-abi3-{self._platform()}"
        build_data["pure_python"] = False
        build_data["force_include"][str(compiled)] = _COMPILED

    def finalize(self, *_: object) -> None:
        """Take away what was only for this wheel."""
        self._folder.cleanup()

    def _platform(self) -> str:
        builder = cast("WheelBuilder", self.build_config.builder)  # the hook is a wheel's alone
        return builder.get_best_matching_tag().rpartition("-")[2]

    def _compiled(self) -> Path | None:
        wish = os.environ.get(_WISH, "")
        if wish not in {"", "0", "1"}:
            self.app.abort(f"{_WISH} is 1, 0 or not set, not {wish!r}")
        if wish == "1":
            return None
        try:
            return _compile(Path(self.root), Path(self._folder.name))
        except (BaseError, CCompilerError, OSError) as error:
            if wish == "0":
                self.app.abort(f"{_SOURCE} cannot be compiled, and {_WISH}=0 asks for it: {error}")
            self.app.display_warning(
                f"{_SOURCE} cannot be compiled, so it is left out; all works, slower: {error}"
            )
            return None


def _compile(root: Path, folder: Path) -> Path:
    """The compiled module, somewhere in a folder.

    Raises:
        BaseError, CCompilerError, OSError: setuptools' words on what is missing or failed.
    """
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise PlatformError("this Python does not have the limited API")
    # Without debug information, which would name the folder: a wheel can be reproduced.
    extension = Extension(
        _MODULE, [str(root / _SOURCE)], py_limited_api=True, extra_compile_args=["-g0"]
    )
    command = build_ext(Distribution({"ext_modules": [extension]}))
    command.build_lib = command.build_temp = str(folder)
    command.ensure_finalized()
    command.run()
    return Path(command.get_ext_fullpath(_MODULE))
