"""What the keys of the config file mean, and their defaults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from support.settings import MINIMAL, Loaded

from bridge.model import Filter
from bridge.settings import Otlp, Settings, StartAt, StartBack


def _otlp(loaded: Loaded, keys: str) -> Otlp:
    out = loaded(MINIMAL.replace("type: console", f"type: otlp, {keys}")).destinations[0]
    assert isinstance(out, Otlp)
    return out


def test_defaults(loaded: Loaded) -> None:
    """Everything but key, app and destination has the contract's default."""
    settings = loaded()
    assert settings.fal.api == "rest"
    assert settings.fal.base_url == "https://rest.alpha.fal.ai"
    assert settings.apps[0].name == "an-app"
    assert settings.apps[0].start == StartBack(600)
    assert not settings.apps[0].traceback
    assert settings.poll.interval == 1
    assert settings.poll.max_interval == 15
    assert settings.poll.page_size == 1000
    assert list(settings.poll.late_sweeps) == [15, 120, 900]
    assert settings.poll.requests_per_second == 5
    assert settings.poll.concurrency == 4
    assert settings.journal.max_bytes == 1024**3
    assert (settings.admin.host, settings.admin.port) == ("127.0.0.1", 9846)
    assert settings.warnings == ()


def test_defaults_of_otlp(loaded: Loaded) -> None:
    """An OTLP destination needs an endpoint and nothing more."""
    out = _otlp(loaded, "endpoint: 'http://localhost:4318'")
    assert out.url == "http://localhost:4318/v1/logs"
    assert (out.protocol, out.compression, out.timeout) == ("http/protobuf", "gzip", 10)
    assert dict(out.headers) == {}
    assert out.tls.model_dump() == {
        "ca_file": None,
        "cert_file": None,
        "key_file": None,
        "server_name_override": None,
        "insecure_skip_verify": False,
    }


@pytest.mark.parametrize(
    ("keys", "url"),
    [
        ("endpoint: 'http://h:4318/'", "http://h:4318/v1/logs"),
        ("endpoint: 'https://h/otlp'", "https://h/otlp/v1/logs"),
        ("endpoint: 'https://h/otlp/'", "https://h/otlp/v1/logs"),
        ("logs_endpoint: 'https://h/x?y=z'", "https://h/x?y=z"),
        ("logs_endpoint: 'https://h/'", "https://h/"),
        ("endpoint: 'http://[::1]:4318'", "http://[::1]:4318/v1/logs"),
    ],
)
def test_endpoints(loaded: Loaded, keys: str, url: str) -> None:
    """`/v1/logs` is appended to endpoint, and logs_endpoint is taken as it is."""
    assert _otlp(loaded, keys).url == url


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("", "endpoint (line 3): is required, unless logs_endpoint is given"),
        ("endpoint: 'http://a', logs_endpoint: 'http://b'", "give endpoint or logs_endpoint"),
        ("endpoint: localhost", "must be a URL such as"),
        ("endpoint: 'localhost:4318'", "must be a URL such as"),
        ("endpoint: 'ftp://h'", "must be a URL such as"),
        ("endpoint: 'http://h:port'", "must be a URL such as"),
        ("endpoint: 'http://'", "must be a URL such as"),
        ("endpoint: 'http://[::1'", "must be a URL such as"),
        ('endpoint: "http://h/\\u0007"', "must be a URL such as"),
        ("endpoint: 'http://u@h'", "must not carry a user name"),
        ("endpoint: 'http://h?x=y'", "must not have a query"),
        ("logs_endpoint: 'http://h#x'", "must not have a fragment"),
        ("endpoint: 'http://h', timeout: 0s", "timeout (line 3): must be greater than 0"),
        ("endpoint: 'http://h', compression: br", "must be 'gzip' or 'none', not 'br'"),
        ("endpoint: 'http://h', headers: {'a b': c}", "is not the name of a header"),
        ("endpoint: 'http://h', tls: {key_file: /dev/null}", "needs cert_file"),
        ("endpoint: 'http://h', tls: {ca_file: /away}", "cannot read the file: No such file"),
        ("endpoint: 'http://h', protocol: grpc", "'grpc' is not supported yet"),
        ("endpoint: 'http://h', protocol: http/json", "'http/json' is not supported yet"),
        ("endpoint: 'http://h', compression: zstd", "'zstd' is not supported yet"),
        ("endpoint: 'http://h', max_age: 7d", "max_age (line 3): is not supported yet"),
        ("endpoint: 'http://h', too_old: send", "too_old (line 3): is not supported yet"),
    ],
)
def test_otlp_refused(refused: Callable[..., str], keys: str, words: str) -> None:
    """What an OTLP destination cannot be is one problem with its place."""
    message = refused(MINIMAL.replace("type: console", f"type: otlp, {keys}"))
    assert words in message
    assert "problems" not in message
    assert "destinations[0]." in message


@pytest.mark.parametrize("kind", ["syslog", "file"])
def test_types_to_come(refused: Callable[..., str], kind: str) -> None:
    """A type of the contract that is not there yet is refused as just that."""
    message = refused(MINIMAL.replace("console", kind))
    assert f"destinations[0] (line 3): type '{kind}' is not supported yet" in message


@pytest.mark.parametrize("kind", ["otpl", "null", "5", "[x]"])
def test_types_that_never_were(refused: Callable[..., str], kind: str) -> None:
    """Any other type is answered with those that exist."""
    assert "the type must be 'otlp' or 'console'" in refused(MINIMAL.replace("console", kind))


@pytest.mark.parametrize(
    ("given", "api", "base_url"),
    [
        ("", "rest", "https://rest.alpha.fal.ai"),
        ("api: rest, base_url: null, ", "rest", "https://rest.alpha.fal.ai"),
        ("api: platform, ", "platform", "https://api.fal.ai"),
        ("base_url: 'http://here/', api: platform, ", "platform", "http://here"),
    ],
)
def test_each_api_is_where_it_is(loaded: Loaded, given: str, api: str, base_url: str) -> None:
    """The address follows the dialect, unless it is given."""
    fal = loaded(MINIMAL.replace("{key:", f"{{{given}key:")).fal
    assert (fal.api, fal.base_url) == (api, base_url)


def test_an_unknown_api(refused: Callable[..., str]) -> None:
    """Answered with those there are, and with nothing about the address."""
    message = refused(MINIMAL.replace("{key:", "{api: soap, key:"))
    assert "fal.api (line 1): must be 'rest' or 'platform'" in message
    assert "base_url" not in message


def test_filter(loaded: Loaded) -> None:
    """An app's selection becomes the filter that the source asks with; scalars become text."""
    text = MINIMAL.replace(
        "app_id: an-app",
        "app_id: a, revision: r, search: 404, level: warning, job_id: 1.10, request_id: q, "
        "traceback: true, labels: {fal_env: prod, n: 7, v: 1.10, zero: 007, b: true, y: yes, "
        "e: ''}",
    )
    assert loaded(text).apps[0].filter == Filter(
        app_id="a",
        revision="r",
        search="404",
        level="WARNING",
        job_id="1.10",
        request_id="q",
        traceback=True,
        labels=(
            ("fal_env", "prod"),
            ("n", "7"),
            ("v", "1.10"),
            ("zero", "007"),
            ("b", "true"),
            ("y", "yes"),
            ("e", ""),
        ),
    )


def test_resource(loaded: Loaded) -> None:
    """Resource attributes keep the type they are written in."""
    app = loaded(
        MINIMAL.replace(
            "app_id: an-app", "app_id: a, service: s, resource: {t: v, n: 3, f: 1.5, b: true}"
        )
    ).apps[0]
    assert app.service == "s"
    written = {key: (value, type(value)) for key, value in app.resource.items()}
    assert written == {"t": ("v", str), "n": (3, int), "f": (1.5, float), "b": (True, bool)}


def test_start(loaded: Loaded) -> None:
    """An unquoted time is a time, though YAML has its own idea of it."""
    text = MINIMAL.replace("an-app", "a, start: 2025-09-19T12:16:10Z")
    assert loaded(text).apps[0].start == StartAt(1_758_284_170_000_000)


def test_whole_account(loaded: Loaded) -> None:
    """Without an app id the whole account is read, under a name."""
    app = loaded(MINIMAL.replace("app_id: an-app", "name: all")).apps[0]
    assert (app.name, app.filter) == ("all", Filter())


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("level: INFO", "apps[0].name (line 2): is required where app_id is omitted"),
        ("app_id: ''", "apps[0].app_id (line 2): must not be empty"),
        ("name: '', app_id: a", "apps[0].name (line 2): must not be empty"),
        ("name: ' a', app_id: a", "apps[0].name (line 2): must be printable"),
        ("app_id: a, level: FATAL", "must be 'DEBUG', 'INFO', 'WARNING' or 'ERROR', not 'FATAL'"),
        ("app_id: a, traceback: perhaps", "must be true or false, not 'perhaps'"),
        ("app_id: a, labels: {k: }", "apps[0].labels.k (line 2): must be text"),
        ("app_id: a, labels: {k: [x]}", "apps[0].labels.k (line 2): must be text"),
        ("app_id: a, labels: [k]", "apps[0].labels (line 2): must be a mapping"),
        ("app_id: a, labels: {a.b: []}", 'apps[0].labels["a.b"] (line 2)'),
        ("app_id: a, resource: {k: {}}", "must be text, a number, true or false"),
        ("app_id: a, resource: {k: 9223372036854775808}", "must fit in 64 bits"),
        ("app_id: a, start: later", "must be 'now', a duration back"),
        ("app_id: [a]", "apps[0].app_id (line 2): must be text"),
    ],
)
def test_apps_refused(with_app: Callable[..., str], keys: str, words: str) -> None:
    """What an app cannot be is one problem with its place."""
    message = with_app(keys)
    assert words in message
    assert "problems" not in message


def test_names_are_unique(refused: Callable[..., str]) -> None:
    """Two apps or two destinations of one name are told apart by their places."""
    message = refused(
        MINIMAL.replace("[{app_id: an-app}]", "[{app_id: a}, {app_id: b, name: a}]").replace(
            "[{name: out, type: console}]",
            "[{name: x, type: console}, {name: y, type: console}, {name: x, type: console}]",
        )
    )
    assert "apps[1].name (line 2): must be unique, and apps[0] has the same" in message
    assert "destinations[2].name (line 3): must be unique, and destinations[0]" in message


def test_one_app_twice(loaded: Loaded) -> None:
    """One app id may be read twice, under two names."""
    text = MINIMAL.replace("[{app_id: an-app}]", "[{app_id: a}, {app_id: a, name: b}]")
    assert [app.name for app in loaded(text).apps] == ["a", "b"]


@pytest.mark.parametrize(
    ("poll", "words"),
    [
        ("interval: 0", "poll.interval (line 4): must be greater than 0, not 0"),
        ("interval: 1m, max_interval: 30s", "max_interval must not be less than interval"),
        ("page_size: 0", "must be greater than or equal to 1, not 0"),
        ("page_size: 1.5", "must be a whole number, not 1.5"),
        ("page_size: true", "must be a number, not True"),
        ("requests_per_second: 0", "must be greater than 0"),
        ("requests_per_second: nan", "poll.requests_per_second (line 4): must be"),
        ("concurrency: many", "must be a whole number, not 'many'"),
        ("late_sweeps: [1s, later]", "poll.late_sweeps[1] (line 4): must be a duration"),
        ("late_sweeps: {a: b}", "must be a list"),
    ],
)
def test_poll_refused(refused: Callable[..., str], poll: str, words: str) -> None:
    """What polling cannot be is one problem with its place."""
    message = refused(f"{MINIMAL}poll: {{{poll}}}\n")
    assert words in message
    assert "problems" not in message


def test_a_long_interval_alone(loaded: Loaded) -> None:
    """An interval over the default of max_interval moves that along."""
    assert loaded(f"{MINIMAL}poll: {{interval: 1m}}\n").poll.max_interval == 60


def test_quoted_quantities(loaded: Loaded) -> None:
    """Numbers may come as text, as they do from placeholders."""
    text = f"{MINIMAL}poll: {{page_size: '50', concurrency: '${{env:N}}'}}\n"
    poll = loaded(text, {"N": "7"}).poll
    assert (poll.page_size, poll.concurrency) == (50, 7)


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [
        ("0.0.0.0:0", "0.0.0.0", 0),
        ("'[::1]:80'", "::1", 80),
        ("localhost:65535", "localhost", 65535),
    ],
)
def test_listen(loaded: Loaded, listen: str, host: str, port: int) -> None:
    """The admin server's address, with names, numbers and brackets."""
    admin = loaded(f"{MINIMAL}admin: {{listen: {listen}}}\n").admin
    assert (admin.host, admin.port) == (host, port)


@pytest.mark.parametrize("listen", ["'9846'", "':9846'", "a:b", "a:65536", "a:-1", "'a:'"])
def test_listen_refused(refused: Callable[..., str], listen: str) -> None:
    """An address is host and port."""
    assert "must be host:port" in refused(f"{MINIMAL}admin: {{listen: {listen}}}\n")


def test_null_means_the_default(loaded: Loaded) -> None:
    """A key with nothing behind it is as good as none."""
    text = MINIMAL.replace("app_id: an-app", "app_id: a, labels: , start: null")
    settings = loaded(f"{text}poll:\njournal: {{path: null, max_bytes: }}\nadmin: null\n")
    assert settings.apps[0].labels == {}
    assert settings == loaded(MINIMAL.replace("an-app", "a"))


def test_frozen(loaded: Loaded) -> None:
    """Settings do not change."""
    with pytest.raises(ValidationError, match="frozen"):
        loaded().poll.interval = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({"HOME": "/h"}, "/h/.local/state/fal-log-bridge/journal.sqlite"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/x"}, "/x/fal-log-bridge/journal.sqlite"),
        (
            {"HOME": "/h", "XDG_STATE_HOME": "relative"},
            "/h/.local/state/fal-log-bridge/journal.sqlite",
        ),
        ({"STATE_DIRECTORY": "/s:/t", "XDG_STATE_HOME": "/x"}, "/s/journal.sqlite"),
    ],
)
def test_journal_default(loaded: Loaded, environ: dict[str, str], path: str) -> None:
    """Without a path the journal is in systemd's or the user's state folder."""
    assert loaded(MINIMAL, environ).journal.path == Path(path)


def test_journal_without_a_folder(refused: Callable[..., str]) -> None:
    """Where no folder is known, the mend is."""
    message = refused(MINIMAL, {"HOME": ""})
    assert "journal.path: no folder to keep state in" in message
    assert "STATE_DIRECTORY" in message


def test_journal_path(loaded: Loaded, tmp_path: Path) -> None:
    """A path is the file, a folder to put it in, or under the user's home."""

    def path(written: str) -> Path:
        return loaded(f"{MINIMAL}journal: {{path: {written}}}\n").journal.path

    assert path(str(tmp_path)) == tmp_path / "journal.sqlite"
    assert path(str(tmp_path / "new.db")) == tmp_path / "new.db"
    assert path("'~/j.db'") == Path("/home-of-nobody/j.db")


def test_direct_construction() -> None:
    """The models stand on their own, for whoever builds settings without a file."""
    assert Settings().poll.page_size == 1000
