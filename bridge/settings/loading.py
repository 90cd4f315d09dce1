"""From a file and the environment to `Settings`, or to one error with everything that is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct, field
from pydantic import ValidationError

from bridge.errors import ConfigError
from bridge.model import Json
from bridge.settings import environment
from bridge.settings.document import Place, Problem, parse, replaced, strings
from bridge.settings.environment import OtlpVariables, Variables
from bridge.settings.interpolate import PlaceholderError, has_placeholder, interpolate
from bridge.settings.problems import Origins, config_error, found_by
from bridge.settings.rules import broken_rules, worth_a_word
from bridge.settings.sections import Settings, section_keys

DEFAULT_CONFIG: Final = Path("/etc/fal-log-bridge/config.yaml")
_OTHER_FILE: Final = "name a YAML file by --config, or set variables alone: see README.md"
_STATE_FOLDER: Final = "fal-log-bridge"
_JOURNAL: Final = "journal.sqlite"


class _Draft(Struct):
    """The settings on their way: data without types, where it came from, what is wrong so far."""

    data: dict[str, Json] = field(default_factory=dict)
    origins: Origins = field(default_factory=Origins)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def section(self, key: str) -> dict[str, Json]:
        """A section to add to; what is no mapping is left for the types to refuse."""
        if self.data.get(key) is None:
            self.data[key] = {}
        value = self.data[key]
        return value if isinstance(value, dict) else {}


def load(config: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    The file is ``config``, else ``BRIDGE_CONFIG``, else `DEFAULT_CONFIG` if it exists; ``BRIDGE_``
    variables override it key by key; what is still missing comes from ``FAL_KEY`` and the
    ``OTEL_EXPORTER_OTLP_`` variables. ``environ`` is the process's own unless given.

    Raises:
        ConfigError: the settings cannot be used; it names every problem with its place.
    """
    environ = os.environ if environ is None else environ
    variables = environment.read_variables(environ)
    draft = _from_file(config, variables)
    _fill_placeholders(draft, environ)
    _override(draft, environ)
    _add_key(draft, variables)
    _add_destination(draft, variables)
    _place_journal(draft, variables)
    return _finished(draft)


def quieten_grpc() -> None:
    """Have the gRPC library print errors alone, unless the user wants more.

    It writes its log to standard error past ours, and listens to a variable only.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


def _finished(draft: _Draft) -> Settings:
    """Types and rules over the draft."""
    settings = None
    try:
        settings = Settings.model_validate(draft.data)
    except ValidationError as error:
        draft.problems.extend(found_by(error, draft.origins))
    draft.problems.extend(broken_rules(draft.data))
    if settings is None or draft.problems:
        raise config_error(draft.problems, draft.origins)
    return settings.warned((*draft.warnings, *worth_a_word(settings)))


def _from_file(config: Path | None, variables: Variables) -> _Draft:
    """The draft that the config file gives; an empty one where there is none."""
    named = config or (Path(variables.bridge_config) if variables.bridge_config else None)
    path = named or DEFAULT_CONFIG
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        if named is None and isinstance(error, FileNotFoundError):
            return _Draft()
        hint = _OTHER_FILE if config or not named else "named by BRIDGE_CONFIG"
        what = f"cannot read the config file: {error.strerror or error}"
        raise ConfigError(what, where=str(path), hint=hint) from None
    except UnicodeDecodeError:
        raise ConfigError("the config file is not UTF-8 text", where=str(path)) from None
    document = parse(text, str(path))
    if not isinstance(document.data, dict | None):
        raise ConfigError("the config file must be a mapping of keys to values", where=str(path))
    origins = Origins(file=str(path), lines=document.lines)
    return _Draft(document.data or {}, origins, document.problems)


def _fill_placeholders(draft: _Draft, environ: Mapping[str, str]) -> None:
    filled: dict[Place, str] = {}
    for path, text in strings(draft.data):
        if has_placeholder(text):
            draft.origins.filled.add(path)
        try:
            filled[path] = interpolate(text, environ, _read_text)
        except PlaceholderError as error:
            draft.problems.append(Problem(path, str(error)))
    draft.data = replaced(draft.data, filled)


def _override(draft: _Draft, environ: Mapping[str, str]) -> None:
    draft.warnings.extend(environment.unknown_variables(environ))
    overrides, names = environment.read_overrides(environ)
    draft.origins.variables.update(names)
    for key, value in overrides.items():
        if section_keys(key) and isinstance(value, dict):
            draft.section(key).update(value)
            continue
        if draft.data.get(key):
            name = names.get((key,), key)
            draft.warnings.append(f"{name}: takes the place of the {key} in the config file")
        draft.data[key] = value


def _add_key(draft: _Draft, variables: Variables) -> None:
    """The key in the environment, where the file gives none."""
    fal = draft.section("fal")
    if fal.get("key") is not None or fal.get("key_file") is not None:
        return
    try:
        found = environment.fal_key(variables)
    except ValueError as error:
        draft.problems.append(Problem(("fal", "key"), str(error)))
        return
    if found:
        fal["key"], draft.origins.variables["fal", "key"] = found


def _add_destination(draft: _Draft, variables: Variables) -> None:
    """The destination of the exporter variables, where none is configured."""
    name = OtlpVariables.endpoint_name(variables)
    if name is None:
        return
    if draft.data.get("destinations"):
        draft.warnings.append(f"{name}: not used, since destinations are configured")
        return
    otlp = OtlpVariables(variables)
    at: Place = ("destinations", 0)
    draft.data["destinations"] = [otlp.data]
    draft.origins.variables |= {(*at, *path): name for path, name in otlp.names.items()}
    draft.problems.extend(Problem((*at, *found.path), found.text) for found in otlp.problems)
    draft.warnings.extend(otlp.warnings)


def _place_journal(draft: _Draft, variables: Variables) -> None:
    """The journal's file, in full: the default one, the one in a folder, the one under ``~``."""
    journal = draft.section("journal")
    path = journal.get("path")
    if path is None:
        folder = _state_folder(variables)
        if folder is None:
            text = "no folder to keep state in: give it, or set STATE_DIRECTORY or HOME"
            draft.problems.append(Problem(("journal", "path"), text))
            return
        journal["path"] = str(folder / _JOURNAL)
    elif isinstance(path, str):
        if not path or "\0" in path:
            text = "must not contain a NUL character" if path else "must not be empty"
            draft.problems.append(Problem(("journal", "path"), text))
            return
        if path.startswith("~/") and variables.home:
            path = f"{variables.home}{path[1:]}"
        # A folder that cannot be looked at is no error here: opening the journal says why.
        in_folder = path.endswith("/") or os.path.isdir(path)  # noqa: PTH112 - Path's raises
        journal["path"] = str(Path(path) / _JOURNAL) if in_folder else path


def _state_folder(variables: Variables) -> Path | None:
    """The state directory that systemd gives (systemd.exec), else ours in the XDG state folder."""
    if variables.state_directory:
        return Path(variables.state_directory.split(":")[0])
    state = variables.xdg_state_home
    # The XDG Base Directory specification has relative paths ignored.
    if state and Path(state).is_absolute():
        return Path(state) / _STATE_FOLDER
    return Path(variables.home) / ".local/state" / _STATE_FOLDER if variables.home else None


def _read_text(path: str) -> str:
    # Line ends stay as they are: only one at the very end is taken off.
    return Path(path).read_bytes().decode()
