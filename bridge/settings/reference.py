"""The settings described for machines and for people, both from the one definition.

``python -m bridge.settings.reference > docs/configuration.md`` writes the page anew.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from bridge.model import Json
from bridge.settings.docstrings import descriptions
from bridge.settings.environment import Variables
from bridge.settings.section import Section
from bridge.settings.sections import Selecting, Settings

_INTRODUCTION: Final = """\
# Configuration

This page is written by `python -m bridge.settings.reference`; `fal-log-bridge config schema`
prints the same as a JSON Schema, which editors can check a file against.

The settings are a YAML file: the one named by `--config`, else by `BRIDGE_CONFIG`, else
`/etc/fal-log-bridge/config.yaml` if it exists. Without a file, `FAL_KEY`, `BRIDGE_APPS` and
`OTEL_EXPORTER_OTLP_ENDPOINT` are enough. Examples are in `config/`.

- **Durations** are `250ms`, `1.5s`, `10m`, `2h30m`, `7d`; a bare number counts seconds.
- **Sizes** are `512MB` (powers of 1000), `1GiB` (powers of 1024) or a bare number of bytes.
- **Placeholders** in values: `${env:NAME}` is a variable, `${env:NAME:-default}` one with a default
  for when it is unset or empty, `${file:PATH}` the text of a file less one trailing newline, `$$`
  a dollar. An unset variable without a default is an error. Inside `{ }` and `[ ]`, quote them.
- **null**, or a key with nothing behind it, means the default. Paths that are not absolute start
  at the folder the process runs in.
- Every error of the settings is reported at once, with its place; the exit code is 2.
- What is marked "not supported yet" is refused, or where it has a default, warned about.
- Secrets (`fal.key`, `admin.token`, header values) are never printed.
"""

_OVERRIDES: Final = """\
## Environment

An empty variable counts as unset.

**Keys as variables.** `BRIDGE_POLL__INTERVAL=5s` sets `poll.interval` and so on for every key of
`fal`, `poll`, `journal`, `admin` and `telemetry`, in place of what the file says; lists are JSON or
have commas between. `BRIDGE_APPS` is ids with commas between, `*` for the whole account (its name
is then `account`), or a JSON list as under `apps`; `BRIDGE_DESTINATIONS` is a JSON list. Both take
the place of the whole list in the file, with a warning. Other `BRIDGE_` variables are ignored with
a warning.

**The key** is taken from the environment only where the file gives neither `fal.key` nor
`fal.key_file`.

**One destination** named `otlp` is made of the standard `OTEL_EXPORTER_OTLP_` variables if an
endpoint is among them and no destination is configured; they never change a configured one. A bare
number as timeout counts milliseconds, as the OpenTelemetry specification says; below 100 it is
taken as seconds, with a warning. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`
describe the bridge itself in its own telemetry, and never the entries it forwards.

**Proxies and certificates** of all HTTP connections, to fal and to backends, come from the usual
variables: `HTTP_PROXY`, `HTTPS_PROXY` and `ALL_PROXY` are addresses of HTTP proxies, `NO_PROXY`
hosts with commas between that are reached without one (lower case works as well); `SSL_CERT_FILE`
and `SSL_CERT_DIR` name the PEM certificates to trust, where `tls.ca_file` does not.
"""

_HEADINGS: Final = {
    "fal": ("fal", "Fal"),
    "apps": ("apps: a list of", "App"),
    "poll": ("poll", "Poll"),
    "journal": ("journal", "Journal"),
    "destinations": ("destinations: a list of", ""),
    "admin": ("admin", "Admin"),
    "telemetry": ("telemetry", "Telemetry"),
}
_SHAPE: Final = (
    ("`shape` of an app", "Shape"),
    ("`drop` of a shape: a list of", "Drop"),
    ("`sample` of a shape: a list of", "Sample"),
    ("`mask` of a shape: a list of", "Mask"),
)
_DESTINATIONS: Final = (
    ("`type: otlp`", "Otlp"),
    ("`tls` of an otlp or syslog destination", "Tls"),
    ("`type: syslog`", "Syslog"),
    ("`type: file`", "File"),
    ("`type: console`", "Console"),
)
_TYPES: Final = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "null": "null",
    "object": "mapping",
}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a config file (draft 2020-12); quantities are as people write them."""
    schema = _schema(Settings)
    for section in (schema, *schema["$defs"].values()):
        for value in section["properties"].values():
            value.pop("title", None)
            if "$ref" in value:
                value.pop("default", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "fal log bridge configuration",
    }


def _schema(section: type[Section]) -> dict[str, Any]:
    """A section's own schema, with what its fields mean and those of the sections in it."""
    schema = section.model_json_schema(mode="serialization")
    definitions = {section.__name__: schema, **schema.get("$defs", {})}
    for one in _subclasses(Section):
        properties = definitions.get(one.__name__, {}).get("properties", {})
        for key, text in descriptions(one).items() if properties else ():
            properties[key]["description"] = text
    return schema


def _subclasses(section: type[Section]) -> Iterator[type[Section]]:
    for one in section.__subclasses__():
        yield one
        yield from _subclasses(one)


def markdown() -> str:
    """The page docs/configuration.md."""
    schema = json_schema()
    parts = [_INTRODUCTION]
    for key, (heading, definition) in _HEADINGS.items():
        parts.append(f"## `{key}`{heading.removeprefix(key)}\n")
        if definition:
            parts.append(_section(schema["$defs"][definition]))
            parts += _sections(schema, _SHAPE if key == "apps" else ())
        else:
            parts.append(f"{schema['properties'][key]['description']}\n")
            parts += _destinations(schema["$defs"])
    parts.append(_OVERRIDES)
    parts.append(_table(("variable", "meaning"), _variables()))
    return "\n".join(parts)


def _destinations(definitions: dict[str, Json]) -> Iterator[str]:
    """What every destination has, once, then what each has besides."""
    shared = _schema(Selecting)
    yield f"### every destination\n\n{_section(shared)}"
    for name, definition in _DESTINATIONS:
        yield f"### {name}\n\n{_section(definitions[definition], shared['properties'])}"


def _sections(schema: dict[str, Json], listed: Iterable[tuple[str, str]]) -> list[str]:
    return [f"### {name}\n\n{_section(schema['$defs'][key])}" for name, key in listed]


def _section(definition: dict[str, Json], without: Collection[str] = ()) -> str:
    required = definition.get("required", [])
    rows = [
        (f"`{key}`", _type(value), _default(key, value, required), value["description"])
        for key, value in definition["properties"].items()
        if key not in without
    ]
    return f"{definition['description']}\n\n" + _table(("key", "value", "default", "meaning"), rows)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _variables() -> Iterator[tuple[str, str]]:
    described = descriptions(Variables)
    for name in Variables.model_fields:
        yield f"`{name.upper()}`", described[name]


def _type(value: dict[str, Json]) -> str:
    if "x-type" in value:
        return str(value["x-type"])
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{word}`" for word in value["enum"])
    if "anyOf" in value:
        kinds = [_type(kind) for kind in value["anyOf"] if kind.get("type") != "null"]
        return " or ".join(kinds) or "null"
    if value.get("type") == "array":
        return f"list of {_type(value['items'])}s"
    return "mapping" if "$ref" in value else _TYPES[value["type"]]


def _default(key: str, value: dict[str, Json], required: list[str]) -> str:
    if key in required:
        return "required"
    if "x-default" in value:
        return str(value["x-default"])
    default = value.get("default")
    if default in (None, {}, []):
        return "none"
    if isinstance(default, list):
        return f"`[{', '.join(default)}]`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    sys.stdout.write(markdown())
