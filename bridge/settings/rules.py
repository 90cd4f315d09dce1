"""What no single key can know: names that must differ, keys that exclude or need each other.

The rules look at the data before it has types, so that their problems are reported together with
those of the types; what has the wrong form is left to the types.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from ipaddress import ip_address
from itertools import chain
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bridge.errors import ConfigError
from bridge.model import Json
from bridge.settings.document import Place, Problem
from bridge.settings.keys import FileKey
from bridge.settings.problems import nearest
from bridge.settings.sections import (
    Destination,
    Otlp,
    Selecting,
    Settings,
    Syslog,
    Telemetry,
    Tls,
)
from bridge.settings.units import format_duration

NO_KEY: Final = (
    "no fal key: set FAL_KEY, or FAL_KEY_ID and FAL_KEY_SECRET, or give fal.key or fal.key_file"
)
NO_APPS: Final = (
    "no app to read: list some under apps, or set BRIDGE_APPS=id1,id2, "
    "or BRIDGE_APPS=* for the whole account"
)
_OVER_TLS: Final = ("tls", "relps")
_SYSLOG_KEYS: Final = {
    "tls": _OVER_TLS,
    "framing": ("tcp", "tls"),
    "window": ("relp", "relps"),
}
NO_DESTINATIONS: Final = (
    "no destination to deliver to: list some under destinations, "
    "or set OTEL_EXPORTER_OTLP_ENDPOINT, such as http://localhost:4318"
)


def broken_rules(data: Json) -> Iterator[Problem]:
    """Every rule across keys that the data breaks."""
    yield from _keys(_mapping(data, "fal"))
    yield from _apps(data)
    yield from _destinations(data)
    yield from _telemetry(_mapping(data, "telemetry"))


def worth_a_word(settings: Settings) -> Iterator[str]:
    """What is accepted, but not what its writer may think."""
    if not settings.poll.late_sweeps:
        yield "poll.late_sweeps: is empty, entries that become visible late are not fetched"
    if _in_the_open(settings.fal.base_url):
        yield "fal.base_url: the fal key goes over plain http:// and can be read on the way"
    if not settings.admin.enabled and settings.admin.model_fields_set - {"enabled"}:
        yield "admin: its other keys have no effect while enabled is false"
    yield from _telemetry_words(settings.telemetry)
    every = len(settings.apps) / settings.poll.requests_per_second
    if every > settings.poll.interval:
        yield (
            f"poll.interval: {len(settings.apps)} apps share "
            f"{settings.poll.requests_per_second:g} requests a second, so that each is looked at "
            f"every {format_duration(round(every, 1))} at best"
        )
    for index, app in enumerate(settings.apps):
        if app.expect_every is not None and app.expect_every <= settings.poll.max_interval:
            yield (
                f"apps[{index}].expect_every: an idle app is looked at every "
                f"{format_duration(settings.poll.max_interval)} (poll.max_interval), so it would "
                "be called silent while it writes"
            )
    apps = [app.name for app in settings.apps]
    for index, destination in enumerate(settings.destinations):
        words = chain(_selecting_words(destination, apps), _words(destination))
        yield from (f"destinations[{index}].{text}" for text in words)


def _telemetry_words(telemetry: Telemetry) -> Iterator[str]:
    if telemetry.endpoint is None and telemetry.model_fields_set - {"endpoint"}:
        yield "telemetry: its other keys have no effect without endpoint"
    if telemetry.endpoint and telemetry.headers and _in_the_open(telemetry.endpoint):
        yield "telemetry.headers: go over plain http:// and can be read on the way"
    if telemetry.tls.insecure_skip_verify:
        yield "telemetry.tls.insecure_skip_verify: the backend's certificate is not checked"


def _words(destination: Destination) -> Iterator[str]:
    if isinstance(destination, Otlp):
        yield from _otlp_words(destination)
    if isinstance(destination, Syslog):
        yield from _syslog_words(destination)
    if isinstance(destination, Otlp | Syslog) and destination.tls.insecure_skip_verify:
        yield "tls.insecure_skip_verify: the backend's certificate is not checked"


def _syslog_words(destination: Syslog) -> Iterator[str]:
    """Keys that have no effect over what it speaks."""
    for key, schemes in _SYSLOG_KEYS.items():
        if key in destination.model_fields_set and destination.scheme not in schemes:
            yield f"{key}: has no effect on a {destination.scheme}:// endpoint"


def _selecting_words(destination: Selecting, apps: list[str]) -> Iterator[str]:
    for wanted in destination.apps:
        if not any(app == wanted or fnmatchcase(app, wanted) for app in apps):
            yield f"apps: {wanted!r} matches no app that is configured{_meant(wanted, apps)}"
    if destination.max_age is None and destination.too_old != "dead_letter":
        yield "too_old: has no effect without max_age"


def _meant(wanted: str, apps: list[str]) -> str:
    guess = nearest(wanted, apps)
    return f"; did you mean {guess!r}?" if guess else ""


def _otlp_words(destination: Otlp) -> Iterator[str]:
    if destination.endpoint and destination.endpoint.endswith("/v1/logs"):
        yield (
            "endpoint: already ends in /v1/logs, and /v1/logs is appended to it; "
            "if it is the whole URL, write it as logs_endpoint"
        )
    if destination.tls != Tls() and destination.url.startswith("http://"):
        yield "tls: has no effect on an http:// URL"
    if destination.headers and _in_the_open(destination.url):
        yield "headers: go over plain http:// and can be read on the way"


def _in_the_open(url: str) -> bool:
    """Whether what goes to a URL leaves the machine without TLS."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "http" or host == "localhost" or host.endswith(".localhost"):
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return True


def _keys(fal: dict[str, Json]) -> Iterator[Problem]:
    key, key_file = fal.get("key"), fal.get("key_file")
    if key is None and key_file is None:
        yield Problem(("fal", "key"), NO_KEY)
    elif key is not None and key_file is not None:
        yield Problem(("fal", "key_file"), "give key or key_file, not both")
    elif isinstance(key_file, str):
        try:
            FileKey(Path(key_file))
        except ConfigError as error:
            yield Problem(("fal", "key_file"), error.what)


def _apps(data: Json) -> Iterator[Problem]:
    if not _given(data, "apps"):
        yield Problem(("apps",), NO_APPS)
    names: dict[str, Place] = {}
    for path, app in _items(data, "apps"):
        name = app.get("name", app.get("app_id"))
        if name is None:
            yield Problem((*path, "name"), "is required where app_id is omitted (whole account)")
        else:
            yield from _unique(str(name), path, names)


def _destinations(data: Json) -> Iterator[Problem]:
    if not _given(data, "destinations"):
        yield Problem(("destinations",), NO_DESTINATIONS)
    names: dict[str, Place] = {}
    for path, destination in _items(data, "destinations"):
        if (name := destination.get("name")) is not None:
            yield from _unique(str(name), path, names)
        if destination.get("type") == "otlp":
            over_grpc = destination.get("protocol") == "grpc"
            yield from (_grpc if over_grpc else _http)(path, destination)
        yield from _tls(path, _mapping(destination, "tls"))


def _telemetry(telemetry: dict[str, Json]) -> Iterator[Problem]:
    path = ("telemetry",)
    if telemetry.get("protocol") == "grpc":
        yield from _checks_always(path, telemetry)
    yield from _tls(path, _mapping(telemetry, "tls"))


def _http(path: Place, destination: dict[str, Json]) -> Iterator[Problem]:
    base, whole = destination.get("endpoint"), destination.get("logs_endpoint")
    if base is None and whole is None:
        yield Problem((*path, "endpoint"), "is required, unless logs_endpoint is given")
    if base is not None and whole is not None:
        yield Problem((*path, "logs_endpoint"), "give endpoint or logs_endpoint, not both")


def _grpc(path: Place, destination: dict[str, Json]) -> Iterator[Problem]:
    """What gRPC cannot do."""
    endpoint = destination.get("endpoint")
    if destination.get("logs_endpoint") is not None:
        text = "is not for protocol grpc, which has no path; give endpoint"
        yield Problem((*path, "logs_endpoint"), text)
    elif endpoint is None:
        yield Problem((*path, "endpoint"), "is required, such as http://localhost:4317")
    if destination.get("compression") == "zstd":
        yield Problem((*path, "compression"), "zstd is not for protocol grpc; use gzip or none")
    yield from _checks_always(path, destination)


def _checks_always(path: Place, section: dict[str, Json]) -> Iterator[Problem]:
    """Over gRPC a certificate cannot but be checked."""
    endpoint = section.get("endpoint")
    plain = isinstance(endpoint, str) and endpoint.startswith("http://")
    if _mapping(section, "tls").get("insecure_skip_verify") is True and not plain:
        text = (
            "is not for protocol grpc, which always checks certificates; "
            "trust the backend's own by ca_file, or use protocol http/protobuf"
        )
        yield Problem((*path, "tls", "insecure_skip_verify"), text)


def _tls(path: Place, tls: dict[str, Json]) -> Iterator[Problem]:
    if tls.get("key_file") is not None and tls.get("cert_file") is None:
        yield Problem((*path, "tls", "key_file"), "needs cert_file, the certificate it is for")
    for key in ("ca_file", "cert_file", "key_file"):
        if isinstance(file := tls.get(key), str) and (trouble := _unreadable(file)):
            yield Problem((*path, "tls", key), trouble)


def _unique(name: str, path: Place, names: dict[str, Place]) -> Iterator[Problem]:
    if (first := names.setdefault(name, path)) != path:
        text = f"must be unique, and {first[0]}[{first[1]}] has the same; give each its own name"
        yield Problem((*path, "name"), text)


def _unreadable(file: str) -> str:
    try:
        with Path(file).open("rb"):
            return ""
    except (OSError, ValueError) as error:  # ValueError: a NUL character
        return f"cannot read the file: {getattr(error, 'strerror', None) or error}"


def _given(data: Json, key: str) -> bool:
    return data.get(key) not in (None, [])


def _mapping(data: Json, key: str) -> dict[str, Json]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _items(data: Json, key: str) -> Iterator[tuple[Place, dict[str, Json]]]:
    value = data.get(key)
    for index, item in enumerate(value if isinstance(value, list) else []):
        if isinstance(item, dict):
            yield (key, index), item
