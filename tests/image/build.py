"""Build the container image without an engine: ``python tests/image/build.py TAG``, as root.

The base is a bare Debian with Python, made on the spot, so that no image registry is needed. The
build installs with the pip that this machine is set up with: its configuration, read when the
build runs, and the certificates and folders that it names are mounted, never copied, into it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PROJECT = Path(__file__).parents[2]
_SUITE = "bookworm"
_BASE_PACKAGES = "python3,python3-venv,ca-certificates"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def build(tag: str) -> None:
    """Build the project's Dockerfile on a fresh base.

    Raises:
        subprocess.CalledProcessError: a step failed; its output is on stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        base = _base(f"{tag}-base", Path(folder))
        mounts = [f"--volume={source}:{target}:ro" for source, target in _mounts(Path(folder))]
        _run(
            *("buildah", "bud", "--format", "docker", "--isolation", "chroot"),
            *("--network", "host", "--pull=never", f"--build-arg=BASE_IMAGE={base}"),
            *mounts,
            *("--tag", tag, str(_PROJECT)),
        )


def _base(tag: str, folder: Path) -> str:
    """An image of a minimal Debian with Python 3.11."""
    archive = folder / "base.tar"
    _run(
        *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={_BASE_PACKAGES}"),
        *(_SUITE, str(archive)),
    )
    container = _run("buildah", "from", "scratch")
    try:
        _run("buildah", "add", container, str(archive), "/")
        _run("buildah", "commit", "--format", "docker", container, tag)
    finally:
        _run("buildah", "rm", container)
    return tag


def _mounts(folder: Path) -> Iterator[tuple[Path, Path]]:
    """What the build's pip needs of this machine, as (here, there)."""
    settings = dict(_pip_settings())
    config = folder / "pip.conf"
    config.touch(mode=0o600)  # an index address may hold a password
    lines = (f"{key} = {value}".replace("\n", "\n    ") for key, value in settings.items())
    config.write_text("\n".join(["[global]", *lines, ""]))
    yield config, Path("/etc/pip.conf")
    words = [word for value in settings.values() for word in value.split()]
    named = {Path(word) for word in words if word.startswith("/")}
    # A local index keeps its packages beside its pages.
    named |= {Path(word[7:]).parent for word in words if word.startswith("file:///")}
    named = {path for path in named | {_CERTIFICATES} if path.exists() and path != path.parent}
    yield from ((path, path) for path in sorted(named))


def _pip_settings() -> Iterator[tuple[str, str]]:
    """Pip's settings from its files and from the environment, which wins, for any command."""
    listing = _run(sys.executable, "-m", "pip", "config", "list").splitlines()
    for line in sorted(listing, key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in {"global", ":env:", "install"}:
            yield key, str(ast.literal_eval(value))


def _run(*command: str) -> str:
    """Run one step; what it said is shown only if it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        sys.stderr.write(f"{done.stdout}{done.stderr}")
        done.check_returncode()
    return done.stdout.strip()


if __name__ == "__main__":
    build(sys.argv[1])
