"""Everything the environment says. Pure: the variables are given.

An empty variable counts as unset.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, SecretStr

from bridge.model import Json
from bridge.settings.document import Place, Problem
from bridge.settings.problems import nearest
from bridge.settings.sections import Settings, section_keys

PREFIX: Final = "BRIDGE_"
WHOLE_ACCOUNT: Final = "account"
DELIMITER: Final = "__"
_OTHER_NAMES: Final = frozenset(("BRIDGE_CONFIG",))
_MILLISECONDS: Final = 1_000
_SURELY_SECONDS: Final = 100


class Variables(BaseModel):
    """The variables that are no keys of the config file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bridge_config: str | None = None
    """The config file, where `--config` is not given."""
    fal_key: SecretStr | None = None
    """The fal API key, where the config file gives none."""
    fal_key_id: SecretStr | None = None
    """With `FAL_KEY_SECRET`, the key in two parts, where `FAL_KEY` is not set."""
    fal_key_secret: SecretStr | None = None
    """See `FAL_KEY_ID`."""
    state_directory: str | None = None
    """Where the journal is by default; systemd sets it. The first of a list with colons."""
    xdg_state_home: str | None = None
    """Where the journal's folder is by default, where `STATE_DIRECTORY` is not set."""
    home: str | None = None
    """Where `~` and `~/.local/state` are."""
    otel_exporter_otlp_endpoint: str | None = None
    """Base URL; `/v1/logs` is appended."""
    otel_exporter_otlp_logs_endpoint: str | None = None
    """The URL as it is."""
    otel_exporter_otlp_protocol: str | None = None
    """`http/protobuf` (the default), `http/json` or `grpc`."""
    otel_exporter_otlp_logs_protocol: str | None = None
    """The same for logs alone."""
    otel_exporter_otlp_headers: SecretStr | None = None
    """`name=value` pairs with commas between, values percent-encoded."""
    otel_exporter_otlp_logs_headers: SecretStr | None = None
    """The same for logs alone; takes the place of the whole list."""
    otel_exporter_otlp_timeout: str | None = None
    """Milliseconds, or a duration with a unit such as `10s`."""
    otel_exporter_otlp_logs_timeout: str | None = None
    """The same for logs alone."""
    otel_exporter_otlp_compression: str | None = None
    """`gzip` (the default here), `none` or `zstd`."""
    otel_exporter_otlp_logs_compression: str | None = None
    """The same for logs alone."""
    otel_exporter_otlp_insecure: str | None = None
    """`true`: over gRPC an endpoint without `http://` or `https://` is reached without TLS."""
    otel_exporter_otlp_logs_insecure: str | None = None
    """The same for logs alone."""
    otel_exporter_otlp_certificate: str | None = None
    """PEM file of the certificates to trust."""
    otel_exporter_otlp_logs_certificate: str | None = None
    """The same for logs alone."""
    otel_exporter_otlp_client_certificate: str | None = None
    """PEM file of our certificate."""
    otel_exporter_otlp_logs_client_certificate: str | None = None
    """The same for logs alone."""
    otel_exporter_otlp_client_key: str | None = None
    """PEM file of our certificate's key."""
    otel_exporter_otlp_logs_client_key: str | None = None
    """The same for logs alone."""


def read_variables(environ: Mapping[str, str]) -> Variables:
    """The variables that are no keys of the config file."""
    named = {key: environ.get(key.upper()) for key in Variables.model_fields}
    return Variables.model_validate({key: text for key, text in named.items() if text})


def override_names() -> dict[str, Place]:
    """Every variable that stands for a key of the config file, with the way to the key."""
    names: dict[str, Place] = {}
    for key in Settings.model_fields:
        name = f"{PREFIX}{key.upper()}"
        names[name] = (key,)
        for inner in section_keys(key):
            names[f"{name}{DELIMITER}{inner.upper()}"] = (key, inner)
    return names


def read_overrides(environ: Mapping[str, str]) -> tuple[dict[str, Json], dict[Place, str]]:
    """The data that ``BRIDGE_`` variables give, and which variable gave what."""
    known = {name: path for name, path in override_names().items() if environ.get(name)}
    if not known:
        return {}, {}
    from bridge.settings import overrides  # noqa: PLC0415 - heavy, and for these only

    data = overrides.read({name: environ[name] for name in known})
    names = {path: name for name, path in known.items()}
    for key, value in data.items():
        if section_keys(key) and isinstance(value, dict) and (name := names.pop((key,), None)):
            names = {(key, inner): name for inner in value} | names
    if isinstance(apps := data.get("apps"), str) and not apps.lstrip().startswith(("[", "{")):
        data["apps"] = _apps(apps)
    return data, names


def unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each ``BRIDGE_`` variable that means nothing, small letters included."""
    known = {*override_names(), *_OTHER_NAMES}
    for name in sorted(environ):
        if name.upper().startswith(PREFIX) and name not in known:
            guess = nearest(name.upper(), sorted(known))
            mend = f"; did you mean {guess}?" if guess else ""
            yield f"{name}: unknown variable, ignored{mend}"


def fal_key(variables: Variables) -> tuple[str, str] | None:
    """The key in the environment and the variable to name for it.

    Raises:
        ValueError: only one half of it is there.
    """
    if variables.fal_key:
        return variables.fal_key.get_secret_value(), "FAL_KEY"
    halves = (variables.fal_key_id, variables.fal_key_secret)
    if all(halves):
        return ":".join(half.get_secret_value() for half in halves if half), "FAL_KEY_ID"
    if any(halves):
        missing = "FAL_KEY_SECRET" if halves[0] else "FAL_KEY_ID"
        raise ValueError(f"FAL_KEY_ID and FAL_KEY_SECRET go together, and {missing} is not set")
    return None


class OtlpVariables:
    """The one destination that the standard exporter variables describe.

    Source: OpenTelemetry specification, "OTLP Exporter Configuration"; a ``LOGS_`` variable takes
    the place of the general one.
    """

    def __init__(self, variables: Variables) -> None:
        self.data: dict[str, Json] = {"name": "otlp", "type": "otlp"}
        self.names: dict[Place, str] = {}
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self._variables = variables
        for key in ("protocol", "compression"):
            self._take((key,), key)
        self._endpoint()
        self._take(("tls", "ca_file"), "certificate")
        self._take(("tls", "cert_file"), "client_certificate")
        self._take(("tls", "key_file"), "client_key")
        self._headers()
        self._timeout()

    @staticmethod
    def endpoint_name(variables: Variables) -> str | None:
        """The variable that gives an endpoint, if one does."""
        for name in ("otel_exporter_otlp_logs_endpoint", "otel_exporter_otlp_endpoint"):
            if getattr(variables, name):
                return name.upper()
        return None

    def _endpoint(self) -> None:
        """Over HTTP the logs endpoint is a whole URL; over gRPC either is a host and a port."""
        name, endpoint = self._read("endpoint")
        if self.data.get("protocol") == "grpc":
            plain = (self._read("insecure")[1] or "").lower() == "true"
            scheme = "http://" if plain and endpoint and "://" not in endpoint else ""
            self._put(("endpoint",), name, f"{scheme}{endpoint}")
        elif self._variables.otel_exporter_otlp_logs_endpoint:
            self._take(("logs_endpoint",), "endpoint")
        else:
            self._take(("endpoint",), "endpoint")

    def _take(self, path: Place, tail: str) -> None:
        name, value = self._read(tail)
        if value:
            self._put(path, name, value)

    def _put(self, path: Place, name: str, value: Json) -> None:
        holder = self.data
        for key in path[:-1]:
            holder = holder.setdefault(str(key), {})
        holder[str(path[-1])] = value
        self.names[path] = name

    def _read(self, tail: str) -> tuple[str, Any]:
        name = f"otel_exporter_otlp_logs_{tail}"
        if not getattr(self._variables, name):
            name = f"otel_exporter_otlp_{tail}"
        return name.upper(), getattr(self._variables, name)

    def _headers(self) -> None:
        name, secret = self._read("headers")
        if not secret:
            return
        headers: dict[str, str] = {}
        self._put(("headers",), name, headers)
        for pair in secret.get_secret_value().split(","):
            key, equals, value = pair.partition("=")
            if equals:
                headers[unquote(key).strip()] = unquote(value).strip()
            elif pair.strip():
                # The pair itself may be a secret and is not shown.
                text = "must be name=value pairs with commas between, values percent-encoded"
                self.problems.append(Problem(("headers",), text))

    def _timeout(self) -> None:
        name, text = self._read("timeout")
        if not text:
            return
        try:
            bare = float(text)
        except ValueError:
            self._put(("timeout",), name, text)
            return
        if not 0 < bare < math.inf:
            self._put(("timeout",), name, text)
        elif bare < _SURELY_SECONDS:
            self.warnings.append(
                f"{name}: {text} is taken as seconds; the variable counts milliseconds, "
                f"and a timeout that short is never meant"
            )
            self._put(("timeout",), name, bare)
        else:
            self._put(("timeout",), name, bare / _MILLISECONDS)


def _apps(text: str) -> list[dict[str, str]]:
    """Apps from ids with commas between; ``*`` is the whole account."""
    ids = [part.strip() for part in text.split(",")]
    return [{"name": WHOLE_ACCOUNT} if i == "*" else {"app_id": i} for i in ids if i]
