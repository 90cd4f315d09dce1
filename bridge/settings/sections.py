"""The shape of the settings: what each key means, its type, its default. Pure.

The docstring under each field is its description in the JSON Schema and in
docs/configuration.md; there is no second copy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    PrivateAttr,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from bridge.model import Filter
from bridge.settings.keys import FileKey, FixedKey, KeySource
from bridge.settings.section import NUMBER, Level, Section
from bridge.settings.shaping import Shape
from bridge.settings.units import Bytes, FirstStart, Seconds, StartBack

BASE_URLS: Final = {"rest": "https://rest.alpha.fal.ai", "platform": "https://api.fal.ai"}
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_LOGS_PATH: Final = "/v1/logs"
_SYSLOG_PORTS: Final = {"relp": None, "relps": None, "tls": 6514, "tcp": None, "udp": 514}
"""The schemes of syslog, with the port that each has where none is named."""
_LARGEST_DATAGRAM: Final = 65_507
_ENTERPRISE_NUMBER: Final = re.compile(r"(?=.{1,28}\Z)[0-9]+(?:\.[0-9]+)*\Z")
"""As long as an SD-ID leaves room for (RFC 5424, 6.3.2)."""
_INT64: Final = range(-(2**63), 2**63)
_PATH_PREFIX: Final = re.compile(r"(?!/api(?:/|\Z))(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+\Z")
_PORTS: Final = range(65_536)


def _as_text(value: object) -> object:
    """A scalar as it is written in YAML; anything else as it is, for the type to refuse."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


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


def _comma_list(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _not_empty(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise ValueError("must not be empty")
    return values


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


def _grpc_endpoint(text: str) -> str:
    """A http(s) URL of a host and perhaps a port; a bare ``host:port`` is one for https."""
    parts = urlsplit(_url(text if "://" in text else f"https://{text}"))
    if parts.path.strip("/") or parts.query:
        raise ValueError("must have no path with protocol grpc, such as http://localhost:4317")
    return text


def _syslog_endpoint(text: str) -> str:
    """A scheme, a host and a port, which two of the schemes have a usual one for."""
    try:
        parts = urlsplit(text)
        usable = parts.hostname and parts.port != 0 and text.isprintable() and " " not in text
    except ValueError:
        usable = False
    if not usable or parts.scheme not in _SYSLOG_PORTS:
        schemes = ", ".join(f"{scheme}://" for scheme in _SYSLOG_PORTS)
        raise ValueError(f"must be one of {schemes} with a host and a port")
    if "@" in text:
        raise ValueError("must not carry a user name or password")
    if parts.path.strip("/") or "?" in text or "#" in text:
        raise ValueError("must be a scheme, a host and a port, nothing more")
    if parts.port is None and _SYSLOG_PORTS[parts.scheme] is None:
        raise ValueError(f"must name a port, such as {parts.scheme}://{parts.netloc}:2514")
    return text


def _enterprise_number(text: str) -> str:
    if not _ENTERPRISE_NUMBER.match(text):
        raise ValueError("must be a private enterprise number such as 32473 (RFC 5612)")
    return text


def _file_path(path: Path) -> Path:
    text = str(path)
    if "\0" in text or path.name in {"", "..", "."}:
        raise ValueError("must be the path of a file")
    return path


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


def _path_prefix(text: str) -> str:
    if text and not _PATH_PREFIX.fullmatch(text):
        raise ValueError("must be a path such as /fal-logs, without a slash at its end")
    return text


def _listen(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) not in _PORTS:
        raise ValueError("must be host:port, such as 127.0.0.1:9846")
    return text


Text = Annotated[str, StringConstraints(min_length=1), BeforeValidator(_as_text)]
Name = Annotated[Text, AfterValidator(_printable)]
Url = Annotated[str, AfterValidator(_url)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
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
Keys = Annotated[tuple[Text, ...], BeforeValidator(_comma_list)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[
    SecretStr,
    BeforeValidator(_as_text),
    AfterValidator(_secret_line),
    WithJsonSchema({"type": ["string", "number"], "writeOnly": True}),
]
Facility = Literal[
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "audit",
    "alert",
    "clock",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
]


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
    expect_every: Annotated[Seconds, Field(gt=0)] | None = None
    """Called silent, with a warning and a metric, when no entry has come for this long."""
    resource: Mapping[Text, Scalar] = {}
    """Resource attributes to add to its entries, or to put in place of derived ones."""
    shape: Shape = Shape()
    """What is done to its entries before they are stored, see below and docs/shaping.md."""

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
    page_size: Annotated[int, NUMBER, Field(ge=1, le=100_000)] = 1_000
    """Entries asked for in one request; the API may give fewer."""
    late_sweeps: Annotated[
        tuple[Annotated[Seconds, Field(gt=0)], ...],
        BeforeValidator(_comma_list),
        Field(json_schema_extra={"default": ["15s", "2m", "15m"]}),
    ] = (15.0, 120.0, 900.0)
    """Ages at which every stretch of time is read again for entries that became visible late."""
    requests_per_second: Annotated[float, NUMBER, Field(gt=0, allow_inf_nan=False)] = 5.0
    """The request budget of the whole account."""
    concurrency: Annotated[int, NUMBER, Field(ge=1, le=1_000)] = 4
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
    dead_letters_max_bytes: Annotated[Bytes, Field(ge=1)] = 256 * 1024**2
    """The most that dead letters may take; then a destination that refuses another one is held."""


class Admin(Section):
    """The bridge's own web server: a status page at `/`, health, metrics and `/api/status`."""

    enabled: bool = True
    """Whether there is one; with `run --once` there is none."""
    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:9846"
    """Address as `host:port`; port 0 is any free one, also if the default's is taken."""
    token: Annotated[SecretStr, AfterValidator(_secret_key)] | None = None
    """A bearer token that is asked for under `/api/`; log lines are shown to nobody without one."""
    path_prefix: Annotated[str, AfterValidator(_path_prefix)] = ""
    """What a reverse proxy leaves before paths, such as `/fal-logs`; both forms are answered."""

    @property
    def host(self) -> str:
        """The host part, an IPv6 address without its brackets."""
        return self.listen.rpartition(":")[0].removeprefix("[").removesuffix("]")

    @property
    def port(self) -> int:
        """The port part."""
        return int(self.listen.rpartition(":")[2])


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


class Telemetry(Section):
    """The bridge's own metrics and spans over OTLP, beside the admin server's `/metrics`.

    With `run --once` none are sent.
    """

    protocol: Literal["http/protobuf", "grpc"] = "http/protobuf"
    """The transport."""
    endpoint: str | None = None
    """Where to send them; `/v1/metrics` and `/v1/traces` are appended. Not given, none are sent."""
    headers: Mapping[HeaderName, HeaderValue] = {}
    """Headers of every request; their values are secret."""
    interval: Annotated[Seconds, Field(gt=0)] = Field(
        default=60.0, json_schema_extra={"default": "60s"}
    )
    """Between two exports of metrics; spans go every 5 seconds, if there are any."""
    sampling_ratio: Annotated[float, NUMBER, Field(ge=0, le=1, allow_inf_nan=False)] = 0.1
    """The share of polls and sends that spans are made of; 0 for none."""
    tls: Tls = Tls()
    """As for a destination, see below."""

    @field_validator("endpoint")
    @classmethod
    def _endpoint_fits(cls, endpoint: str, info: ValidationInfo) -> str:
        return (_grpc_endpoint if info.data.get("protocol") == "grpc" else _base_url)(endpoint)


DestinationStart: TypeAlias = Literal["oldest", "now"]


class Selecting(Section):
    """What every destination has: a name, and what of the journal goes to it."""

    name: Name
    """Unique; names the cursor in the journal and the metrics."""
    apps: Annotated[tuple[Name, ...], AfterValidator(_not_empty)] = Field(
        default=("*",),
        json_schema_extra={"default": ["*"], "minItems": 1, "x-default": '`["*"]`'},
    )
    """The apps whose entries it gets: their names, or patterns such as `vision-*`."""
    min_level: Level | None = None
    """The least severe entries it gets. Those without a known level, and gaps, always pass."""
    resource: Mapping[Text, Scalar] = {}
    """Resource attributes to add for it, or to put in place of those of the same name."""
    max_age: Annotated[Seconds, Field(gt=0)] | None = None
    """The age over which entries are too old for it; some backends discard them silently."""
    too_old: Literal["dead_letter", "restamp", "send"] = "dead_letter"
    """What becomes of those: kept aside, sent as if of now, or sent all the same and counted."""
    start: DestinationStart = "oldest"
    """Where a new one begins: `oldest`, at the oldest entry the journal still holds, or `now`."""


class Otlp(Selecting):
    """A backend that takes OTLP, over HTTP or gRPC. Give `endpoint` or `logs_endpoint`."""

    type: Literal["otlp"]
    """The kind of destination."""
    protocol: Literal["http/protobuf", "http/json", "grpc"] = "http/protobuf"
    """The transport and encoding; JSON costs many times what protobuf does."""
    endpoint: str | None = None
    """Base URL; `/v1/logs` is appended. For `grpc` without a path; `host:port` means TLS."""
    logs_endpoint: Url | None = None
    """The URL as it is; not for `grpc`."""
    headers: Mapping[HeaderName, HeaderValue] = {}
    """Headers of every request, such as the backend's key; their values are secret."""
    compression: Literal["gzip", "none", "zstd"] = "gzip"
    """Of requests; `zstd`, not for `grpc`, comes with the extra of that name."""
    max_payload: Annotated[Bytes, Field(ge=1_024)] | None = None
    """The most bytes of a request before compression, where the backend has a limit."""
    timeout: Annotated[Seconds, Field(gt=0)] = 10.0
    """For one request, its answer included."""
    tls: Tls = Tls()
    """See below."""

    @field_validator("endpoint")
    @classmethod
    def _endpoint_fits(cls, endpoint: str, info: ValidationInfo) -> str:
        return (_grpc_endpoint if info.data.get("protocol") == "grpc" else _base_url)(endpoint)

    @property
    def url(self) -> str:
        """Where logs are sent (OTLP 1.11, "OTLP/HTTP Request"); for gRPC the endpoint itself."""
        if self.protocol == "grpc":
            return self.endpoint or ""
        return self.logs_endpoint or f"{self.endpoint}{_LOGS_PATH}"


class Syslog(Selecting):
    """A syslog receiver; see [syslog](syslog.md). RELP alone confirms what was taken."""

    type: Literal["syslog"]
    """The kind of destination."""
    endpoint: Annotated[str, AfterValidator(_syslog_endpoint)]
    """`relp://`, `relps://`, `tls://`, `tcp://` or `udp://` with host and port."""
    timeout: Annotated[Seconds, Field(gt=0)] = 10.0
    """To connect, and the longest without any progress while sending."""
    tls: Tls = Tls()
    """For `tls://` and `relps://`; see below."""
    framing: Literal["octet-counting", "lf"] = "octet-counting"
    """How messages are told apart over `tcp://` and `tls://`."""
    window: Annotated[int, NUMBER, Field(ge=1, le=65_536)] = 128
    """Messages that may be unacknowledged over RELP."""
    max_message_bytes: Annotated[Bytes, Field(ge=1_024)] = Field(
        default=8_000, json_schema_extra={"default": 8_000}
    )
    """The longest message; keep it below the receiver's limit."""
    on_long: Literal["cut", "split"] = "cut"
    """What becomes of a longer one: cut with a mark, or sent in numbered parts."""
    facility: Facility = "local0"
    """The facility of every message."""
    hostname: Keys = ("host.id",)
    """Attributes of which the first that there is becomes HOSTNAME."""
    app_name: Keys = ("service.name",)
    """The same for APP-NAME."""
    proc_id: Keys = ("fal.job.id",)
    """The same for PROCID."""
    msg_id: Keys = ("fal.source",)
    """The same for MSGID."""
    structured_data: Keys = Field(default=("*",), json_schema_extra={"x-default": '`["*"]`'})
    """Patterns of the attributes that are sent as structured data, such as `fal.*`."""
    enterprise_number: Annotated[Text, AfterValidator(_enterprise_number)] = "32473"
    """The private enterprise number of the structured data's id."""
    bom: bool = False
    """Begin messages with a byte order mark, as RFC 5424 has it and receivers show it."""

    @property
    def scheme(self) -> str:
        """What it speaks."""
        return urlsplit(self.endpoint).scheme

    @model_validator(mode="after")
    def _fits_a_datagram(self) -> Syslog:
        if self.scheme == "udp" and self.max_message_bytes > _LARGEST_DATAGRAM:
            raise ValueError(f"max_message_bytes must be at most {_LARGEST_DATAGRAM} over udp://")
        return self


class File(Selecting):
    """A file that is appended to and synced; opened anew when it was moved, and on SIGHUP."""

    type: Literal["file"]
    """The kind of destination."""
    path: Annotated[Path, AfterValidator(_file_path)]
    """The file; its folder must exist."""
    format: Literal["jsonl", "otlp_json"] = "jsonl"
    """One line a record, as the console prints it to a program; or one OTLP request a line."""


class Console(Selecting):
    """Standard output: readable and coloured on a terminal, JSON lines otherwise."""

    type: Literal["console"]
    """The kind of destination."""


Destination: TypeAlias = Annotated[Otlp | Syslog | File | Console, Field(discriminator="type")]
DESTINATION_TYPES: Final = ("otlp", "syslog", "file", "console")


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
    """The bridge's own metrics and spans over OTLP."""

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
