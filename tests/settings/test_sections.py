"""What the keys of the config file mean, and their defaults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from support.settings import MINIMAL, Loaded

from bridge.destinations.rfc5424 import Layout
from bridge.errors import ConfigError
from bridge.model import Filter
from bridge.settings import (
    Destination,
    File,
    Otlp,
    Settings,
    StartAt,
    StartBack,
    Syslog,
)


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
        ("endpoint: 'http://h', compression: br", "must be 'gzip', 'none' or 'zstd', not 'br'"),
        ("endpoint: 'http://h', headers: {'a b': c}", "is not the name of a header"),
        ("endpoint: 'http://h', tls: {key_file: /dev/null}", "needs cert_file"),
        ("endpoint: 'http://h', tls: {ca_file: /away}", "cannot read the file: No such file"),
        ("endpoint: 'http://h', max_payload: 5", "must be greater than or equal to 1024"),
        ("protocol: grpc", "endpoint (line 3): is required, such as http://localhost:4317"),
        (
            "protocol: grpc, logs_endpoint: 'http://h'",
            "logs_endpoint (line 3): is not for protocol",
        ),
        ("protocol: grpc, endpoint: 'http://h/v1/logs'", "must have no path with protocol grpc"),
        ("protocol: grpc, endpoint: 'ftp://h'", "must be a URL such as"),
        ("protocol: grpc, endpoint: 'h:port'", "must be a URL such as"),
        ("protocol: grpc, endpoint: 'u@h:4317'", "must not carry a user name"),
        ("protocol: grpc, endpoint: h, compression: zstd", "zstd is not for protocol grpc; use"),
        (
            "protocol: grpc, endpoint: h, tls: {insecure_skip_verify: true}",
            "insecure_skip_verify (line 3): is not for protocol grpc, which always checks",
        ),
    ],
)
def test_otlp_refused(refused: Callable[..., str], keys: str, words: str) -> None:
    """What an OTLP destination cannot be is one problem with its place."""
    message = refused(MINIMAL.replace("type: console", f"type: otlp, {keys}"))
    assert words in message
    assert "problems" not in message
    assert "destinations[0]." in message


@pytest.mark.parametrize("endpoint", ["http://h:4317", "https://h", "h:4317", "h", "[::1]:4317"])
def test_endpoints_for_grpc(loaded: Loaded, endpoint: str) -> None:
    """A URL without a path, or a bare host and port, is taken as it is."""
    out = _otlp(loaded, f"endpoint: '{endpoint}', protocol: grpc, tls: {{}}, max_payload: 4MB")
    assert (out.url, out.protocol, out.max_payload) == (endpoint, "grpc", 4_000_000)
    assert loaded().warnings == ()


def _one(loaded: Loaded, keys: str) -> tuple[Destination, tuple[str, ...]]:
    settings = loaded(MINIMAL.replace("type: console", keys))
    return settings.destinations[0], settings.warnings


@pytest.mark.parametrize(
    "endpoint",
    ["relp://h:2514", "relps://h:1", "tls://h", "tcp://[::1]:514", "udp://h", "udp://10.0.0.1:5"],
)
def test_defaults_of_syslog(loaded: Loaded, endpoint: str) -> None:
    """An endpoint is enough; the layout's defaults are those of the messages themselves."""
    out, warnings = _one(loaded, f"type: syslog, endpoint: '{endpoint}'")
    assert isinstance(out, Syslog)
    assert (out.endpoint, out.framing, out.window, out.timeout, warnings) == (
        *(endpoint, "octet-counting", 128, 10, ()),
    )
    layout = Layout()
    for key in (name for name in Layout.__struct_fields__ if name != "line_breaks"):
        assert getattr(out, key) == getattr(layout, key), key


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("timeout: 1s", "endpoint (line 3): is required"),
        ("endpoint: 'http://h'", "must be one of relp://, relps://, tls://, tcp://, udp://"),
        ("endpoint: 'h:514'", "must be one of relp://"),
        ("endpoint: 'relp://'", "with a host and a port"),
        ("endpoint: 'relp://h'", "must name a port, such as relp://h:2514"),
        ("endpoint: 'tcp://h'", "must name a port"),
        ("endpoint: 'tcp://h:0'", "with a host and a port"),
        ("endpoint: 'tcp://h:x'", "with a host and a port"),
        ("endpoint: 'tcp://u:p@h:5'", "must not carry a user name or password"),
        ("endpoint: 'tcp://h:5/path'", "nothing more"),
        ("endpoint: 'udp://h', max_message_bytes: 64KiB", "must be at most 65507 over udp://"),
        ("endpoint: 'udp://h', max_message_bytes: 100", "must be greater than or equal to 1024"),
        ("endpoint: 'udp://h', facility: local9", "must be 'kern', "),
        ("endpoint: 'udp://h', enterprise_number: abc", "must be a private enterprise number"),
        ("endpoint: 'udp://h', on_long: drop", "must be 'cut' or 'split', not 'drop'"),
        ("endpoint: 'udp://h', framing: crlf", "must be 'octet-counting' or 'lf', not 'crlf'"),
        ("endpoint: 'udp://h', window: 0", "must be greater than or equal to 1"),
        ("endpoint: 'udp://h', headers: {}", "unknown key"),
        ("endpoint: 'udp://h', app_nam: [a]", "did you mean 'app_name'?"),
        ("endpoint: 'tls://h', tls: {key_file: /dev/null}", "needs cert_file"),
        ("endpoint: 'tls://h', tls: {ca_file: /away}", "cannot read the file: No such file"),
    ],
)
def test_syslog_refused(refused: Callable[..., str], keys: str, words: str) -> None:
    """What a syslog destination cannot be is one problem with its place."""
    message = refused(MINIMAL.replace("type: console", f"type: syslog, {keys}"))
    assert words in message
    assert "problems" not in message
    assert "destinations[0]" in message
    assert "u:p" not in message


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ("endpoint: 'relp://h:1', framing: lf", "framing: has no effect on a relp:// endpoint"),
        ("endpoint: 'udp://h', window: 5", "window: has no effect on a udp:// endpoint"),
        ("endpoint: 'tcp://h:1', tls: {}", "tls: has no effect on a tcp:// endpoint"),
        (
            "endpoint: 'relps://h:1', tls: {insecure_skip_verify: true}",
            "tls.insecure_skip_verify: the backend's certificate is not checked",
        ),
    ],
)
def test_syslog_worth_a_word(loaded: Loaded, keys: str, word: str) -> None:
    """A key that does nothing over this protocol is told."""
    assert _one(loaded, f"type: syslog, {keys}")[1] == (f"destinations[0].{word}",)


def test_lists_of_attributes(loaded: Loaded) -> None:
    """Lists, one name, or names with commas between; a number is an enterprise's too."""
    out, _ = _one(
        loaded,
        "type: syslog, endpoint: 'udp://h', hostname: [a, b], app_name: 'c, d', proc_id: [], "
        "structured_data: fal.*, enterprise_number: 4711",
    )
    assert isinstance(out, Syslog)
    assert (out.hostname, out.app_name, out.proc_id) == (("a", "b"), ("c", "d"), ())
    assert (out.structured_data, out.enterprise_number) == (("fal.*",), "4711")


def test_files(loaded: Loaded) -> None:
    """A path is enough."""
    out, _ = _one(loaded, "type: file, path: /var/log/fal.jsonl")
    assert isinstance(out, File)
    assert (out.path, out.format) == (Path("/var/log/fal.jsonl"), "jsonl")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("format: jsonl", "path (line 3): is required"),
        ("path: ''", "must be the path of a file"),
        ("path: /", "must be the path of a file"),
        ('path: "/a\\0b"', "must be the path of a file"),
        ("path: /a, format: csv", "must be 'jsonl' or 'otlp_json', not 'csv'"),
        ("path: /a, mode: 1", "unknown key"),
    ],
)
def test_files_refused(refused: Callable[..., str], keys: str, words: str) -> None:
    """What a file destination cannot be is one problem with its place."""
    message = refused(MINIMAL.replace("type: console", f"type: file, {keys}"))
    assert words in message
    assert "problems" not in message


@pytest.mark.parametrize(
    ("kind", "mend"),
    [("otpl", "; did you mean 'otlp'?"), ("sylog", "; did you mean 'syslog'?")]
    + [(kind, "") for kind in ("null", "5", "[x]", "kafka")],
)
def test_types_that_never_were(refused: Callable[..., str], kind: str, mend: str) -> None:
    """Any other type is answered with those that exist, and the nearest of them."""
    message = refused(MINIMAL.replace("console", kind))
    assert f"the type must be 'otlp', 'syslog', 'file' or 'console'{mend}" in message
    assert mend or "did you mean" not in message


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


@pytest.mark.parametrize("prefix", ["", "/logs", "/fal/logs-1", "/~me/a.b_c"])
def test_path_prefix(loaded: Loaded, prefix: str) -> None:
    """A path of one or more parts, or none."""
    admin = loaded(f"{MINIMAL}admin: {{path_prefix: '{prefix}'}}\n").admin
    assert admin.path_prefix == prefix


@pytest.mark.parametrize(
    "prefix",
    ["/", "logs", "/logs/", "//logs", "/a//b", "/a b", "/..", "/a?b", "/ü", "/api", "/api/x"],
)
def test_path_prefix_refused(refused: Callable[..., str], prefix: str) -> None:
    """What no proxy would leave there, and what would hide the API."""
    assert "must be a path such as" in refused(f"{MINIMAL}admin: {{path_prefix: '{prefix}'}}\n")


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


def test_a_destination_takes_everything(loaded: Loaded) -> None:
    """Every app, every level, any age, nothing added, unless it says otherwise."""
    out = loaded().destinations[0]
    assert (out.apps, out.min_level, dict(out.resource)) == (("*",), None, {})
    assert (out.max_age, out.too_old) == (None, "dead_letter")


@pytest.mark.parametrize("kind", ["console", "otlp, endpoint: 'http://h'"])
def test_selecting(loaded: Loaded, kind: str) -> None:
    """Every type of destination says in the same words what goes to it."""
    keys = "apps: [an-app, 'v*'], min_level: warning, max_age: 1h30m, too_old: restamp"
    text = MINIMAL.replace("console", f"{kind}, {keys}, resource: {{t: v, n: 3}}")
    out = loaded(text.replace("[{app_id: an-app}]", "[{app_id: an-app}, {app_id: vx}]"))
    assert out.warnings == ()
    [one] = out.destinations
    assert (one.apps, one.min_level) == (("an-app", "v*"), "WARNING")
    assert (one.max_age, one.too_old) == (5400, "restamp")
    assert dict(one.resource) == {"t": "v", "n": 3}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("apps: []", "apps (line 3): must not be empty"),
        ("apps: an-app", "apps (line 3): must be a list"),
        ("apps: ['']", "apps[0] (line 3): must not be empty"),
        ("min_level: LOUD", "must be 'DEBUG', 'INFO', 'WARNING' or 'ERROR', not 'LOUD'"),
        ("resource: {k: []}", "must be text, a number, true or false"),
        ("max_age: 0s", "max_age (line 3): must be greater than 0"),
        ("max_age: old", "max_age (line 3): must be a duration such as"),
        ("too_old: drop", "must be 'dead_letter', 'restamp' or 'send', not 'drop'"),
        ("max_agee: 1h", "unknown key; did you mean 'max_age'?"),
    ],
)
def test_selecting_refused(refused: Callable[..., str], keys: str, words: str) -> None:
    """What a destination cannot take is one problem with its place."""
    message = refused(MINIMAL.replace("console", f"console, {keys}"))
    assert words in message
    assert "problems" not in message
    assert "destinations[0]." in message


@pytest.mark.parametrize(
    ("keys", "warning"),
    [
        ("apps: ['AN-*']", "apps: 'AN-*' matches no app that is configured"),
        (
            "apps: [an-app, an-ap]",
            "apps: 'an-ap' matches no app that is configured; did you mean 'an-app'?",
        ),
        ("too_old: send", "too_old: has no effect without max_age"),
    ],
)
def test_selecting_warned(loaded: Loaded, keys: str, warning: str) -> None:
    """What is accepted but selects nothing, or does nothing, is worth a word."""
    warnings = loaded(MINIMAL.replace("console", f"console, {keys}")).warnings
    assert warnings == (f"destinations[0].{warning}",)


@pytest.mark.parametrize(
    "keys",
    [
        "apps: [an-app]",
        "apps: ['an-*', '?n-app', '*']",
        "too_old: dead_letter",
        "too_old: send, max_age: 7d",
    ],
)
def test_selecting_without_a_word(loaded: Loaded, keys: str) -> None:
    """What does what it says needs none."""
    assert loaded(MINIMAL.replace("console", f"console, {keys}")).warnings == ()


def test_an_app_named_like_a_pattern(loaded: Loaded) -> None:
    """A name is matched as it is written too, whatever is in it."""
    text = MINIMAL.replace("an-app", "'a[b]'").replace("console", "console, apps: ['a[b]']")
    assert loaded(text).warnings == ()


def test_expect_every(loaded: Loaded) -> None:
    """A duration; one that an idle app cannot keep is worth a word."""
    text = MINIMAL.replace("an-app}", "an-app, expect_every: EVERY}")
    assert loaded().apps[0].expect_every is None
    fine = loaded(text.replace("EVERY", "10m"))
    assert (fine.apps[0].expect_every, fine.warnings) == (600, ())
    (word,) = loaded(text.replace("EVERY", "15s")).warnings
    assert word == (
        "apps[0].expect_every: an idle app is looked at every 15s (poll.max_interval), so it "
        "would be called silent while it writes"
    )
    with pytest.raises(ConfigError, match="expect_every"):
        loaded(text.replace("EVERY", "0"))
