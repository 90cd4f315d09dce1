"""The shape of the settings: what each key means, its type, its default. Pure.

The docstring under each field is its description in the JSON Schema and in
docs/configuration.md; there is no second copy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    SecretStr,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from bridge.model import Filter
from bridge.settings.keys import FileKey, FixedKey, KeySource
from bridge.settings.units import Bytes, FirstStart, Seconds, StartBack

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
BASE_URLS: Final = {"rest": "https://rest.alpha.fal.ai", "platform": "https://api.fal.ai"}
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_LOGS_PATH: Final = "/v1/logs"
_METRICS_PATH: Final = "/v1/metrics"
_INT64: Final = range(-(2**63), 2**63)
_PORTS: Final = range(65_536)


def _as_text(value: object) -> object:
    """A scalar as it is written in YAML; anything else as it is, for the type to refuse."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _not_yet(*values: str, use: str) -> BeforeValidator:
    """Refuse what the contract names and this version cannot do."""

    def refuse(value: object) -> object:
        for known in values:
            if value == known:
                text = f"{known!r} is not supported yet; use {use!r}"
                raise PydanticCustomError("not_yet", "{text}", {"text": text})
        return value

    return BeforeValidator(refuse)


def _not_yet_at_all(_: object) -> None:
    raise PydanticCustomError("not_yet", "is not supported yet")


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("must be printable, without spaces around it")
    return text


def _scalar(value: object) -> object:
    if not isinstance(value, str | bool | int | float):
        raise ValueError("must be text, a number, true or false")  # noqa: TRY004 - pydantic's protocol
    if isinstance(value, int) and value not in _INT64:
        raise ValueError("must fit in 64 bits; quote it to make it text")
    return value


def _no_boolean(value: object) -> object:
    # Python counts true as 1; nobody who writes true for a number means that.
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic's protocol
    return value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _comma_list(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _url(text: str) -> str:
    """A http(s) URL without a user name, password or fragment."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not text.isprintable() or " " in text:
        raise ValueError("must be a URL such as https://host:4318")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not carry a user name or password; give an Authorization header")
    if parts.fragment:
        raise ValueError("must not have a fragment (#)")
    return text


def _base_url(text: str) -> str:
    if "?" in _url(text):
        raise ValueError("must not have a query (?), since a path is appended to it")
    return text.rstrip("/")


def _header_name(name: str) -> str:
    if not _HEADER_NAME.match(name):
        raise ValueError("is not the name of a header")
    return name


def _secret_line(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not (text.isascii() and text.isprintable()):
        raise ValueError("must be one line of printable ASCII")
    return secret


def _secret_key(secret: SecretStr) -> SecretStr:
    stripped = SecretStr(secret.get_secret_value().strip())
    if not stripped.get_secret_value():
        raise ValueError("must not be empty")
    return _secret_line(stripped)


def _listen(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) not in _PORTS:
        raise ValueError("must be host:port, such as 127.0.0.1:9846")
    return text


_NUMBER: Final = BeforeValidator(_no_boolean)
Text = Annotated[str, StringConstraints(min_length=1), BeforeValidator(_as_text)]
Name = Annotated[Text, AfterValidator(_printable)]
Url = Annotated[str, AfterValidator(_url)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
Level = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    BeforeValidator(_upper),
    WithJsonSchema(
        {
            "x-type": ", ".join(f"`{level}`" for level in LEVELS),
            "enum": [*LEVELS, *map(str.lower, LEVELS)],
        }
    ),
]
LabelValue = Annotated[
    str,
    BeforeValidator(_as_text),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
Scalar = Annotated[
    str | bool | int | float,
    PlainValidator(_scalar),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[
    SecretStr,
    BeforeValidator(_as_text),
    AfterValidator(_secret_line),
    WithJsonSchema({"type": ["string", "number"], "writeOnly": True}),
]
NotYet = Annotated[None, BeforeValidator(_not_yet_at_all)]


class Section(BaseModel):
    """A mapping of the config file: frozen, no unknown keys, null means the default."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {k: v for k, v in data.items() if v is not None or k not in cls.model_fields}


class Fal(Section):
    """The fal account whose logs are read."""

    api: Literal["rest", "platform"] = "rest"
    """Which of fal's logs APIs is spoken: the Logs REST API, or the newer Platform API."""
    base_url: BaseUrl = Field(
        default_factory=lambda data: BASE_URLS[data.get("api", "rest")],
        json_schema_extra={
            "x-default": f"`{BASE_URLS['rest']}`; `{BASE_URLS['platform']}` for `platform`"
        },
    )
    """Where that API is."""
    key: Annotated[SecretStr, AfterValidator(_secret_key)] | None = None
    """The fal API key, `key_id:key_secret`; one with read-only scope is enough."""
    key_file: Path | None = None
    """A file with the key, read again when it changes."""

    def key_source(self) -> KeySource:
        """What gives the key at each request.

        Raises:
            ConfigError: the key file has no key.
        """
        if self.key_file is not None:
            return FileKey(self.key_file)
        return FixedKey(self.key.get_secret_value() if self.key else "")


class App(Section):
    """One stream of entries: an app, or the whole account, and what to select of it."""

    app_id: Text | None = None
    """The app's id at fal; omitted, the whole account is read and `name` is required."""
    name: Name = Field(
        default_factory=lambda data: data.get("app_id") or "",
        json_schema_extra={"x-default": "the `app_id`"},
    )
    """Unique; names the position in the journal, the metrics and the bridge's own logs."""
    service: Text | None = None
    """The `service.name` its entries get, in place of the app's own name."""
    level: Level | None = None
    """Minimum level. What it does to STDOUT and STDERR entries is up to the API."""
    revision: Text | None = None
    """Only this revision."""
    search: Text | None = None
    """Only entries whose message has this term."""
    job_id: Text | None = None
    """Only this job."""
    request_id: Text | None = None
    """Only this request."""
    traceback: bool = False
    """Ask the API for tracebacks."""
    stderr_level: Level = "INFO"
    """The severity of lines that the app printed to STDERR; the level itself stays as it is."""
    labels: Mapping[Text, LabelValue] = {}
    """Only entries with these labels (the API's `extra_filters`)."""
    start: FirstStart = StartBack(600)
    """Where the very first start begins: `now`, a duration back, or an ISO 8601 time."""
    resource: Mapping[Text, Scalar] = {}
    """Resource attributes to add to its entries, or to put in place of derived ones."""

    @property
    def filter(self) -> Filter:
        """What it selects at the API."""
        return Filter(
            app_id=self.app_id,
            revision=self.revision,
            search=self.search,
            level=self.level,
            job_id=self.job_id,
            request_id=self.request_id,
            traceback=self.traceback,
            labels=tuple(self.labels.items()),
        )


class Poll(Section):
    """How the API is asked."""

    interval: Annotated[Seconds, Field(gt=0)] = 1.0
    """Between two looks at an app while entries flow."""
    max_interval: Annotated[Seconds, Field(gt=0)] = Field(
        default_factory=lambda data: max(15.0, data["interval"]),
        json_schema_extra={"default": "15s"},
    )
    """The most an idle app waits; no less than `interval`."""
    page_size: Annotated[int, _NUMBER, Field(ge=1, le=100_000)] = 1_000
    """Entries asked for in one request; the API may give fewer."""
    late_sweeps: Annotated[
        tuple[Annotated[Seconds, Field(gt=0)], ...],
        BeforeValidator(_comma_list),
        Field(json_schema_extra={"default": ["15s", "2m", "15m"]}),
    ] = (15.0, 120.0, 900.0)
    """Ages at which every stretch of time is read again for entries that became visible late."""
    requests_per_second: Annotated[float, _NUMBER, Field(gt=0, allow_inf_nan=False)] = 5.0
    """The request budget of the whole account."""
    concurrency: Annotated[int, _NUMBER, Field(ge=1, le=1_000)] = 4
    """Requests at the same time, for the whole account."""

    @model_validator(mode="after")
    def _ordered(self) -> Poll:
        if self.max_interval < self.interval:
            raise ValueError("max_interval must not be less than interval")
        return self


class Journal(Section):
    """The durable store between reading and delivering."""

    path: Annotated[Path, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "null"}]})] = (
        Field(
            default=Path("journal.sqlite"),
            json_schema_extra={
                "default": None,
                "x-default": "`journal.sqlite` in `$STATE_DIRECTORY`, else in `fal-log-bridge` "
                "under `$XDG_STATE_HOME` or `~/.local/state`",
            },
        )
    )
    """Its file, or a folder, existing or with a slash at the end, to put `journal.sqlite` in."""
    max_bytes: Annotated[Bytes, Field(ge=1)] = 1024**3
    """The most that undelivered batches may take; then reading pauses until there is room."""
    ledger_for: Annotated[Seconds, Field(gt=0)] = Field(
        default=86_400.0, json_schema_extra={"default": "24h"}
    )
    """How long the fingerprints of entries are kept, for `audit` and `explain`."""
    ledger_max_bytes: Annotated[Bytes, Field(ge=1)] = 256 * 1024**2
    """The most that fingerprints may take; then the oldest go first, unless a read needs them."""


class Admin(Section):
    """The bridge's own web server: `/livez`, `/readyz`, `/metrics` and `/api/status`."""

    enabled: bool = True
    """Whether there is one; with `run --once` there is none."""
    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:9846"
    """Address as `host:port`; port 0 is any free one, also if the default's is taken."""
    token: Annotated[SecretStr, AfterValidator(_secret_key)] | None = None
    """A bearer token that is asked for under `/api/`; health and metrics are open."""

    @property
    def host(self) -> str:
        """The host part, an IPv6 address without its brackets."""
        return self.listen.rpartition(":")[0].removeprefix("[").removesuffix("]")

    @property
    def port(self) -> int:
        """The port part."""
        return int(self.listen.rpartition(":")[2])


class Telemetry(Section):
    """The bridge's own metrics over OTLP/HTTP, beside the admin server's `/metrics`."""

    endpoint: BaseUrl | None = None
    """Base URL to send them to, `/v1/metrics` is appended; not given, none are sent."""
    headers: Mapping[HeaderName, HeaderValue] = {}
    """Headers of every request; their values are secret."""
    interval: Annotated[Seconds, Field(gt=0)] = Field(
        default=60.0, json_schema_extra={"default": "60s"}
    )
    """Between two exports."""

    @property
    def url(self) -> str:
        """Where metrics are sent (OTLP 1.11, "OTLP/HTTP Request")."""
        return f"{self.endpoint}{_METRICS_PATH}"


class Tls(Section):
    """How a destination's certificate is checked, and our own shown."""

    ca_file: Path | None = None
    """PEM certificates to trust in place of the system's."""
    cert_file: Path | None = None
    """Our certificate, PEM; the key may stand in the same file."""
    key_file: Path | None = None
    """The key of our certificate, PEM."""
    server_name_override: Text | None = None
    """The name the backend's certificate is checked against, in place of the host's."""
    insecure_skip_verify: bool = False
    """Do not check the backend's certificate."""


class Otlp(Section):
    """A backend that takes OTLP/HTTP. Give `endpoint` or `logs_endpoint`."""

    name: Name
    """Unique; names the cursor in the journal and the metrics."""
    type: Literal["otlp"]
    """The kind of destination."""
    endpoint: BaseUrl | None = None
    """Base URL; `/v1/logs` is appended."""
    logs_endpoint: Url | None = None
    """The URL as it is."""
    protocol: Annotated[
        Literal["http/protobuf"],
        _not_yet("http/json", "grpc", use="http/protobuf"),
    ] = "http/protobuf"
    """The transport and encoding."""
    headers: Mapping[HeaderName, HeaderValue] = {}
    """Headers of every request, such as the backend's key; their values are secret."""
    compression: Annotated[Literal["gzip", "none"], _not_yet("zstd", use="gzip")] = "gzip"
    """Of request bodies."""
    timeout: Annotated[Seconds, Field(gt=0)] = 10.0
    """For one request, its answer included."""
    tls: Tls = Tls()
    """See below."""
    max_age: NotYet = None
    """Not supported yet: the age after which the backend discards entries."""
    too_old: NotYet = None
    """Not supported yet: what to do with entries over `max_age`."""

    @property
    def url(self) -> str:
        """Where logs are sent (OTLP 1.11, "OTLP/HTTP Request")."""
        return self.logs_endpoint or f"{self.endpoint}{_LOGS_PATH}"


class Console(Section):
    """Standard output: readable and coloured on a terminal, JSON lines otherwise."""

    name: Name
    """Unique; names the cursor in the journal and the metrics."""
    type: Literal["console"]
    """The kind of destination."""


Destination: TypeAlias = Annotated[Otlp | Console, Field(discriminator="type")]
DESTINATION_TYPES: Final = ("otlp", "console")
DESTINATION_TYPES_TO_COME: Final = ("syslog", "file")


class Settings(Section):
    """The fal log bridge's configuration."""

    fal: Fal = Fal()
    """The fal account whose logs are read."""
    apps: tuple[App, ...] = ()
    """The streams to read; see also `BRIDGE_APPS`."""
    poll: Poll = Poll()
    """How the API is asked."""
    journal: Journal = Journal()
    """The durable store between reading and delivering."""
    destinations: tuple[Destination, ...] = ()
    """The backends to deliver to; see also the `OTEL_EXPORTER_OTLP_` variables."""
    admin: Admin = Admin()
    """The bridge's own web server."""
    telemetry: Telemetry = Telemetry()
    """The bridge's own metrics over OTLP."""

    _warnings: tuple[str, ...] = PrivateAttr(default=())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was accepted but deserves a word, one sentence each, without secrets."""
        return self._warnings

    def warned(self, warnings: tuple[str, ...]) -> Settings:
        """The same settings with these warnings."""
        copy = self.model_copy()
        copy._warnings = warnings  # noqa: SLF001 - the same class
        return copy


def section_keys(key: str) -> tuple[str, ...]:
    """The keys of a section of the file; none where the key is no section."""
    kind = Settings.model_fields[key].annotation
    return tuple(kind.model_fields) if isinstance(kind, type) and issubclass(kind, Section) else ()
