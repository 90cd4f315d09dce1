"""What the environment says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.settings import ENVIRON, MINIMAL, Loaded

from bridge.errors import ConfigError
from bridge.settings import Otlp, Settings, load
from bridge.settings.environment import OtlpVariables, override_names, read_variables

ALONE = {
    **ENVIRON,
    "FAL_KEY": "id:secret",
    "BRIDGE_APPS": "one,two",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
}


@pytest.fixture(autouse=True)
def _no_default_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No file of this machine takes part."""
    monkeypatch.setattr("bridge.settings.loading.DEFAULT_CONFIG", tmp_path / "none")


def _alone(**more: str) -> Settings:
    """Settings from variables alone; an empty one is as good as unset."""
    return load(None, {**ALONE, **more})


def _otlp(**more: str) -> Otlp:
    (destination,) = _alone(**{f"OTEL_EXPORTER_OTLP_{k}": v for k, v in more.items()}).destinations
    assert isinstance(destination, Otlp)
    return destination


def _refusal(environ: Mapping[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(None, environ)
    return str(caught.value)


def test_variables_alone_are_enough() -> None:
    """Key, apps and endpoint make a whole configuration, with one destination named otlp."""
    settings = _alone()
    assert settings.fal.key_source()() == "id:secret"
    assert [(app.app_id, app.name) for app in settings.apps] == [("one", "one"), ("two", "two")]
    (destination,) = settings.destinations
    assert isinstance(destination, Otlp)
    assert (destination.name, destination.url) == ("otlp", "http://collector:4318/v1/logs")
    assert (destination.compression, destination.timeout) == ("gzip", 10)
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("written", "apps"),
    [
        ("one", [("one", "one")]),
        (" one , two,", [("one", "one"), ("two", "two")]),
        ("*", [(None, "account")]),
        ("one,*", [("one", "one"), (None, "account")]),
        ('[{"app_id": "one", "name": "n"}]', [("one", "n")]),
        ("owner/name", [("owner/name", "owner/name")]),
    ],
)
def test_apps(written: str, apps: list[tuple[str | None, str]]) -> None:
    """Apps are ids with commas between, `*` for the account, or JSON as in the file."""
    settings = _alone(BRIDGE_APPS=written)
    assert [(app.app_id, app.name) for app in settings.apps] == apps


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("one,one", "BRIDGE_APPS: apps[1].name: must be unique"),
        (",", "BRIDGE_APPS: no app to read"),
        ("a\udcff", "BRIDGE_APPS: apps[0].app_id: must be UTF-8 text"),
        ('[{"app_id":', "BRIDGE_APPS: must be a list"),
        ('{"app_id": "x"}', "BRIDGE_APPS: must be a list"),
        ('[{"app": "x", "name": "n"}]', "BRIDGE_APPS: apps[0].app: unknown key"),
    ],
)
def test_apps_refused(written: str, words: str) -> None:
    """What is wrong with the apps names the variable."""
    assert words in _refusal({**ALONE, "BRIDGE_APPS": written})


def test_apps_take_the_place_of_the_files(loaded: Loaded) -> None:
    """BRIDGE_APPS overrides like every other key, and says so."""
    settings = loaded(MINIMAL, {"BRIDGE_APPS": "other"})
    assert [app.name for app in settings.apps] == ["other"]
    assert settings.warnings == ("BRIDGE_APPS: takes the place of the apps in the config file",)


def test_destinations_take_the_place_of_the_files(loaded: Loaded) -> None:
    """BRIDGE_DESTINATIONS too."""
    settings = loaded(MINIMAL, {"BRIDGE_DESTINATIONS": '[{"name": "c", "type": "console"}]'})
    assert [destination.name for destination in settings.destinations] == ["c"]
    assert len(settings.warnings) == 1


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({"FAL_KEY": "a:b"}, "a:b"),
        ({"FAL_KEY": " a:b\n"}, "a:b"),
        ({"FAL_KEY": "", "FAL_KEY_ID": "i", "FAL_KEY_SECRET": "s"}, "i:s"),
        ({"FAL_KEY": "a:b", "FAL_KEY_ID": "i", "FAL_KEY_SECRET": "s"}, "a:b"),
        ({"FAL_KEY": "a:b", "FAL_KEY_ID": "i"}, "a:b"),
        ({"BRIDGE_FAL__KEY": "c:d"}, "c:d"),
    ],
)
def test_key(environ: dict[str, str], key: str) -> None:
    """The key is FAL_KEY, else its two halves."""
    assert load(None, {**ALONE, **environ}).fal.key_source()() == key


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "fal.key: no fal key: set FAL_KEY, or FAL_KEY_ID and FAL_KEY_SECRET"),
        ({"FAL_KEY_ID": "i"}, "go together, and FAL_KEY_SECRET is not set"),
        ({"FAL_KEY_SECRET": "s"}, "go together, and FAL_KEY_ID is not set"),
        ({"FAL_KEY": " "}, "FAL_KEY: must not be empty"),
        ({"FAL_KEY": "a\nb"}, "FAL_KEY: must be one line of printable ASCII"),
        ({"BRIDGE_FAL__KEY": "a", "BRIDGE_FAL__KEY_FILE": "/x"}, "give key or key_file, not both"),
    ],
)
def test_key_refused(environ: dict[str, str], words: str) -> None:
    """Without a whole key the ways to give one are named."""
    message = _refusal({**ALONE, "FAL_KEY": "", **environ})
    assert words in message
    assert "problems" not in message


def test_the_files_key_stands(loaded: Loaded) -> None:
    """A key in the file is not replaced by one that happens to be in the environment."""
    assert loaded(MINIMAL, {"FAL_KEY": "other"}).fal.key_source()() == "id:the-secret-of-fal"


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("BRIDGE_POLL__INTERVAL", "5s", lambda s: s.poll.interval == 5),
        ("BRIDGE_POLL__PAGE_SIZE", "50", lambda s: s.poll.page_size == 50),
        ("BRIDGE_POLL__LATE_SWEEPS", "1s, 2m", lambda s: s.poll.late_sweeps == (1, 120)),
        ("BRIDGE_POLL__LATE_SWEEPS", '["1s", 2]', lambda s: s.poll.late_sweeps == (1, 2)),
        ("BRIDGE_POLL", '{"page_size": 50}', lambda s: s.poll.page_size == 50),
        ("BRIDGE_JOURNAL__MAX_BYTES", "1MB", lambda s: s.journal.max_bytes == 10**6),
        ("BRIDGE_JOURNAL__PATH", "/j.db", lambda s: s.journal.path == Path("/j.db")),
        ("BRIDGE_ADMIN__LISTEN", "h:1", lambda s: s.admin.port == 1),
        ("BRIDGE_FAL__BASE_URL", "http://h", lambda s: s.fal.base_url == "http://h"),
        ("BRIDGE_POLL__INTERVAL", "", lambda s: s.poll.interval == 2),
    ],
)
def test_overrides(loaded: Loaded, name: str, value: str, read: Callable[[Settings], bool]) -> None:
    """A variable sets one key and leaves its neighbours as the file has them."""
    settings = loaded(f"{MINIMAL}poll: {{interval: 2s, concurrency: 9}}\n", {name: value})
    assert read(settings)
    assert settings.poll.concurrency == 9


def test_override_of_a_wrong_value(loaded: Loaded) -> None:
    """An override stands in for what the file says, right or wrong."""
    text = f"{MINIMAL}poll: {{interval: wrong}}\n"
    assert loaded(text, {"BRIDGE_POLL__INTERVAL": "3s"}).poll.interval == 3


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("BRIDGE_POLL__INTERVAL", "soon", "BRIDGE_POLL__INTERVAL: must be a duration"),
        ("BRIDGE_POLL", "5", "BRIDGE_POLL: must be a mapping"),
        ("BRIDGE_POLL", '{"interval": "soon"}', "BRIDGE_POLL: must be a duration"),
        ("BRIDGE_FAL__API", "soap", "BRIDGE_FAL__API: must be 'rest' or 'platform'"),
    ],
)
def test_overrides_refused(refused: Callable[..., str], name: str, value: str, words: str) -> None:
    """A wrong override is reported under the variable's name, not the file's line."""
    assert words in refused(MINIMAL, {name: value})


def test_every_key_has_a_variable() -> None:
    """Every key of every section can be set by a variable."""
    names = override_names()
    for section in ("fal", "poll", "journal", "admin", "telemetry"):
        for key in type(getattr(Settings(), section)).model_fields:
            assert names[f"BRIDGE_{section.upper()}__{key.upper()}"] == (section, key)


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("BRIDGE_POLL__INTERVALL", "; did you mean BRIDGE_POLL__INTERVAL?"),
        ("BRIDGE_SERVICE_HOST", ""),
        ("BRIDGE_POLL__", ""),
        ("BRIDGE_", ""),
    ],
)
def test_unknown_variables_warn(loaded: Loaded, name: str, warning: str) -> None:
    """Kubernetes puts variables of its own beside ours: unknown ones only warn."""
    (said,) = loaded(MINIMAL, {name: "tcp://the-value"}).warnings
    assert said.startswith(f"{name}: unknown variable, ignored{warning}")
    assert "the-value" not in said


def test_known_variables_do_not_warn(loaded: Loaded, tmp_path: Path) -> None:
    """BRIDGE_CONFIG is no key, and known all the same."""
    assert loaded(MINIMAL, {"BRIDGE_CONFIG": str(tmp_path)}).warnings == ()


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"ENDPOINT": "http://h:4318/"}, "http://h:4318/v1/logs"),
        ({"ENDPOINT": "http://h/base"}, "http://h/base/v1/logs"),
        ({"LOGS_ENDPOINT": "http://h/x"}, "http://h/x"),
        ({"ENDPOINT": "http://a", "LOGS_ENDPOINT": "http://h"}, "http://h"),
        ({"ENDPOINT": "", "LOGS_ENDPOINT": "http://h"}, "http://h"),
    ],
)
def test_otel_endpoint(variables: dict[str, str], url: str) -> None:
    """The base endpoint gets the path, the logs endpoint is taken as it is and goes first."""
    assert _otlp(**variables).url == url


def _headers(**variables: str) -> dict[str, str]:
    return {k: v.get_secret_value() for k, v in _otlp(**variables).headers.items()}


@pytest.mark.parametrize(
    ("written", "headers"),
    [
        ("a=b", {"a": "b"}),
        (" a = b , c=d,", {"a": "b", "c": "d"}),
        ("Authorization=Basic%20dTpw", {"Authorization": "Basic dTpw"}),
        ("Authorization=Basic dTpw==", {"Authorization": "Basic dTpw=="}),
        ("a=x%2Cy%3Dz", {"a": "x,y=z"}),
        ("a=", {"a": ""}),
    ],
)
def test_otel_headers(written: str, headers: dict[str, str]) -> None:
    """Headers are pairs with commas between, percent-encoded."""
    assert _headers(HEADERS=written) == headers


@given(
    st.dictionaries(st.from_regex(r"[A-Za-z0-9-]{1,8}", fullmatch=True), st.text("a =,%;&+é\t~"))
)
def test_otel_headers_round_trip(headers: dict[str, str]) -> None:
    """Whatever is percent-encoded arrives, less spaces around; what no header can hold is not."""
    written = ",".join(f"{quote(key)}={quote(value, safe='')}" for key, value in headers.items())
    variables = read_variables({"OTEL_EXPORTER_OTLP_HEADERS": written})
    stripped = {key: value.strip() for key, value in headers.items()}
    assert OtlpVariables(variables).data.get("headers", {}) == stripped


def test_otel_logs_headers_stand_alone() -> None:
    """The headers for logs take the place of the general ones."""
    assert _headers(HEADERS="a=b", LOGS_HEADERS="c=d") == {"c": "d"}


@pytest.mark.parametrize(
    ("written", "seconds", "warned"),
    [
        ("10000", 10, False),
        ("2500", 2.5, False),
        ("100", 0.1, False),
        ("10", 10, True),
        ("2.5", 2.5, True),
        ("10s", 10, False),
        ("250ms", 0.25, False),
    ],
)
def test_otel_timeout(written: str, seconds: float, warned: bool) -> None:
    """A bare number counts milliseconds, unless that cannot be meant."""
    settings = _alone(OTEL_EXPORTER_OTLP_TIMEOUT=written)
    (destination,) = settings.destinations
    assert isinstance(destination, Otlp)
    assert destination.timeout == seconds
    assert [w.split(":")[0] for w in settings.warnings] == ["OTEL_EXPORTER_OTLP_TIMEOUT"] * warned


def test_otel_the_rest(tmp_path: Path) -> None:
    """Compression and certificates, each for logs before the general one."""
    for name in ("ca", "other", "cert", "key"):
        (tmp_path / name).touch()
    out = _otlp(
        ENDPOINT="https://h",
        PROTOCOL="grpc",
        LOGS_PROTOCOL="http/protobuf",
        COMPRESSION="gzip",
        LOGS_COMPRESSION="none",
        CERTIFICATE=str(tmp_path / "other"),
        LOGS_CERTIFICATE=str(tmp_path / "ca"),
        CLIENT_CERTIFICATE=str(tmp_path / "cert"),
        CLIENT_KEY=str(tmp_path / "key"),
    )
    assert out.compression == "none"
    assert (out.tls.ca_file, out.tls.cert_file, out.tls.key_file) == (
        tmp_path / "ca",
        tmp_path / "cert",
        tmp_path / "key",
    )


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ENDPOINT", "collector:4318", "must be a URL such as"),
        ("PROTOCOL", "http/xml", "must be 'http/protobuf', 'http/json' or 'grpc', not 'http/xml'"),
        ("COMPRESSION", "deflate", "must be 'gzip', 'none' or 'zstd', not 'deflate'"),
        ("TIMEOUT", "soon", "must be a duration"),
        ("TIMEOUT", "-1", "must be a duration"),
        ("TIMEOUT", "nan", "must be a duration"),
        ("TIMEOUT", "0", "must be greater than 0"),
        ("HEADERS", "a", "must be name=value pairs"),
        ("CERTIFICATE", "/away", "cannot read the file"),
        ("CLIENT_KEY", "/dev/null", "needs cert_file"),
    ],
)
def test_otel_refused(name: str, value: str, words: str) -> None:
    """What is wrong names its variable."""
    message = _refusal({**ALONE, f"OTEL_EXPORTER_OTLP_{name}": value})
    assert f"OTEL_EXPORTER_OTLP_{name}: " in message
    assert words in message
    assert "problems" not in message


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"ENDPOINT": "http://h:4317", "PROTOCOL": "grpc"}, "http://h:4317"),
        ({"ENDPOINT": "h:4317", "LOGS_PROTOCOL": "grpc"}, "h:4317"),
        ({"LOGS_ENDPOINT": "https://h", "PROTOCOL": "grpc"}, "https://h"),
        ({"ENDPOINT": "h:4317", "PROTOCOL": "grpc", "INSECURE": "true"}, "http://h:4317"),
        ({"ENDPOINT": "https://h", "PROTOCOL": "grpc", "INSECURE": "True"}, "https://h"),
        (
            {"ENDPOINT": "h", "PROTOCOL": "grpc", "INSECURE": "true", "LOGS_INSECURE": "false"},
            "h",
        ),
    ],
)
def test_otel_over_grpc(variables: dict[str, str], url: str) -> None:
    """Either endpoint is a host and a port; without a scheme it is TLS unless insecure."""
    out = _otlp(**variables)
    assert (out.protocol, out.url) == ("grpc", url)


def test_otel_json() -> None:
    """JSON, for all signals or for logs."""
    for name in ("PROTOCOL", "LOGS_PROTOCOL"):
        assert _otlp(**{"ENDPOINT": "http://h", name: "http/json"}).protocol == "http/json"


def test_otel_never_merges(loaded: Loaded) -> None:
    """Beside configured destinations the exporter variables do nothing, and that is said."""
    settings = loaded(
        MINIMAL.replace("type: console", "type: otlp, endpoint: 'http://h'"),
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://other",
            "OTEL_EXPORTER_OTLP_HEADERS": "a=b",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        },
    )
    (destination,) = settings.destinations
    assert isinstance(destination, Otlp)
    assert (destination.url, dict(destination.headers)) == ("http://h/v1/logs", {})
    assert settings.warnings == (
        "OTEL_EXPORTER_OTLP_ENDPOINT: not used, since destinations are configured",
    )


def test_otel_beside_a_file_without_destinations(loaded: Loaded) -> None:
    """A file that names no destination can be completed by the variables."""
    text = MINIMAL.replace("destinations: [{name: out, type: console}]\n", "")
    (destination,) = loaded(text, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h"}).destinations
    assert destination.name == "otlp"


def test_otel_without_an_endpoint() -> None:
    """Headers alone make no destination."""
    environ = {**ALONE, "OTEL_EXPORTER_OTLP_ENDPOINT": "", "OTEL_EXPORTER_OTLP_HEADERS": "a=b"}
    assert "destinations: no destination to deliver to" in _refusal(environ)


def test_service_name_is_the_bridges_own() -> None:
    """OTEL_SERVICE_NAME says nothing about the entries that are forwarded."""
    plain = _alone()
    named = _alone(OTEL_SERVICE_NAME="bridge", OTEL_RESOURCE_ATTRIBUTES="team=me")
    assert named == plain
