"""Where settings come from, and how everything wrong is said at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.settings import ENVIRON, MINIMAL, Loaded

from bridge.errors import ConfigError
from bridge.settings import load

EVERYTHING_WRONG = """\
fal:
  api: graphql
  ky: some-text
apps:
  - app_id: x
    lables: {fal_env: prod}
    level: warn
    start: 10x
  - name: x
    start: now
    start: 5s
  - level: ${env:NOWHERE}
  - 5
poll: {interval: 0s, page_size: no, late_sweeps: [1s, zz]}
destinations:
  - {type: sylog, name: a}
  - {type: otlp, name: b, timeout: 10w, tls: {kee_file: 1}}
  - {type: console, name: b, header: 1}
wat: 1
"""


def test_everything_at_once(refused: Callable[..., str]) -> None:
    """All problems of a file come in one message, in its order, each with place and line."""
    first, *lines = refused(EVERYTHING_WRONG).splitlines()
    assert first.endswith(f"config.yaml: {len(lines)} problems")
    assert [line.strip().split(": ")[0] for line in lines] == [
        "fal.key (line 1)",
        "fal.api (line 2)",
        "fal.ky (line 3)",
        "apps[0].lables (line 6)",
        "apps[0].level (line 7)",
        "apps[0].start (line 8)",
        "apps[1].name (line 9)",
        "apps[1].start (line 10)",
        "apps[2].level (line 12)",
        "apps[2].name (line 12)",
        "apps[3] (line 13)",
        "poll.interval (line 14)",
        "poll.page_size (line 14)",
        "poll.late_sweeps[1] (line 14)",
        "destinations[0] (line 16)",
        "destinations[1].timeout (line 17)",
        "destinations[1].tls.kee_file (line 17)",
        "destinations[1].endpoint (line 17)",
        "destinations[2].header (line 18)",
        "destinations[2].name (line 18)",
        "wat (line 19)",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pol: {}", "unknown key; did you mean 'poll'?"),
        ("poll: {intervall: 1s}", "unknown key; did you mean 'interval'?"),
        ("poll: {zzz: 1s}", "unknown key; the keys here are concurrency, interval, late_sweeps"),
        ("journal: {maxbytes: 1}", "unknown key; did you mean 'max_bytes'?"),
        ("admin: {lisen: 1}", "unknown key; did you mean 'listen'?"),
        ("'a\\nb': 1", "unknown key"),
        ('"a\\nb": 1', '["a\\nb"] (line 4): unknown key'),
    ],
)
def test_nearest_key(refused: Callable[..., str], text: str, words: str) -> None:
    """An unknown key is answered with the nearest one, or with those there are."""
    message = refused(f"{MINIMAL}{text}\n")
    assert words in message
    assert "\n" not in message


def test_nearest_key_of_a_destination(refused: Callable[..., str]) -> None:
    """The keys of a destination are those of its own type."""
    message = refused(MINIMAL.replace("console", "otlp, endpoint: 'http://h', header: {}"))
    assert "destinations[0].header (line 3): unknown key; did you mean 'headers'?" in message
    message = refused(MINIMAL.replace("console", "console, headers: {}"))
    shared = "apps, max_age, min_level, name, resource, start, too_old"
    assert f"unknown key; the keys here are {shared}, type" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n", "must be a mapping of keys to values"),
        ("text\n", "must be a mapping of keys to values"),
        (MINIMAL.replace("[{app_id: an-app}]", "an-app"), "apps (line 2): must be a list"),
        (MINIMAL.replace("[{app_id: an-app}]", "{app_id: a}"), "apps (line 2): must be a list"),
        (MINIMAL + "poll: 5\n", "poll (line 4): must be a mapping of keys to values, not 5"),
        (MINIMAL + "poll: []\n", "poll (line 4): must be a mapping of keys to values"),
        (MINIMAL + "5: x\n", "5 (line 4): unknown key"),
    ],
)
def test_wrong_forms(refused: Callable[..., str], text: str, words: str) -> None:
    """A list where a mapping belongs, or the other way round, is one problem."""
    message = refused(text)
    assert words in message
    assert "problems" not in message


def test_nothing_at_all(refused: Callable[..., str]) -> None:
    """An empty file lacks key, app and destination, and the message gives the ways to each."""
    message = refused("")
    assert "3 problems" in message
    for way in ("FAL_KEY_ID", "fal.key_file", "BRIDGE_APPS=*", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        assert way in message


def test_empty_lists(refused: Callable[..., str]) -> None:
    """Empty lists are as good as none."""
    message = refused('fal: {key: "a:b"}\napps: []\ndestinations: []\n')
    assert "no app to read" in message
    assert "no destination to deliver to" in message


def test_unset_variable_has_its_place(refused: Callable[..., str]) -> None:
    """An unset variable is named with the key that wants it, and nothing follows from it."""
    message = refused(MINIMAL + "poll: {interval: '${env:NOWHERE}'}\n")
    assert message.endswith(
        "poll.interval (line 4): the variable NOWHERE is not set and has no default"
    )


def test_placeholders(loaded: Loaded, tmp_path: Path) -> None:
    """Values come from variables and files; comments are left alone."""
    (tmp_path / "key").write_text("id:secret\n", "utf-8")
    settings = loaded(
        f"""
        # not read: ${{env:NOWHERE}}
        fal: {{key: "${{file:{tmp_path}/key}}"}}
        apps:
          - app_id: ${{env:APP}}
            search: $$5
            labels: {{fal_env: "${{env:ENV:-prod}}"}}
        destinations: [{{name: out, type: console}}]
        """,
        {"APP": "from-env"},
    )
    assert settings.fal.key_source()() == "id:secret"
    assert settings.apps[0].name == "from-env"
    assert settings.apps[0].search == "$5"
    assert dict(settings.apps[0].labels) == {"fal_env": "prod"}


def test_which_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config goes before BRIDGE_CONFIG, and that before the default place."""
    files = {}
    for name in ("option", "variable", "default"):
        files[name] = tmp_path / f"{name}.yaml"
        files[name].write_text(MINIMAL.replace("an-app", name), "utf-8")
    monkeypatch.setattr("bridge.settings.loading.DEFAULT_CONFIG", files["default"], raising=True)
    named = {**ENVIRON, "BRIDGE_CONFIG": str(files["variable"])}
    assert load(files["option"], named).apps[0].name == "option"
    assert load(None, named).apps[0].name == "variable"
    assert load(None, ENVIRON).apps[0].name == "default"


def test_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A missing default file is no error, and what is missing then says that there is none."""
    monkeypatch.setattr("bridge.settings.loading.DEFAULT_CONFIG", tmp_path / "none", raising=True)
    with pytest.raises(ConfigError, match=r"^no config file, and in the environment: 3 problems"):
        load(None, ENVIRON)


def test_unreadable_files(tmp_path: Path) -> None:
    """A named file that is missing, a folder, or no text is one error."""
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot read .* No such file"):
        load(tmp_path / "none.yaml", ENVIRON)
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path, ENVIRON)
    with pytest.raises(ConfigError, match="named by BRIDGE_CONFIG"):
        load(None, {**ENVIRON, "BRIDGE_CONFIG": str(tmp_path / "none.yaml")})
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "binary", ENVIRON)


def test_byte_order_mark(tmp_path: Path) -> None:
    """A byte order mark, as some editors write it, is no part of the text."""
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert load(path, ENVIRON).apps[0].name == "an-app"


def test_process_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without other variables the process's own are read."""
    path = tmp_path / "config.yaml"
    path.write_text(MINIMAL, "utf-8")
    monkeypatch.setenv("BRIDGE_POLL__PAGE_SIZE", "77")
    assert load(path).poll.page_size == 77


@pytest.mark.parametrize(
    ("more", "warning"),
    [
        ("poll: {late_sweeps: []}", "poll.late_sweeps: is empty"),
        ("poll: {requests_per_second: 0.5}", "poll.interval: 1 apps share 0.5 requests a second"),
        ("poll: {late_sweeps: [1s]}", None),
        ("", None),
    ],
)
def test_polls_that_do_less_than_asked_warn(loaded: Loaded, more: str, warning: str | None) -> None:
    """No sweeps, or a budget that stretches the interval: not in silence."""
    warnings = loaded(f"{MINIMAL}{more}\n").warnings
    assert [w.startswith(warning or "?") for w in warnings] == ([True] if warning else [])


@pytest.mark.parametrize(
    ("keys", "warning"),
    [
        ("endpoint: 'http://h/v1/logs'", "endpoint: already ends in /v1/logs"),
        ("endpoint: 'http://h', tls: {server_name_override: x}", "tls: has no effect on an http"),
        ("endpoint: 'https://h', tls: {insecure_skip_verify: true}", "certificate is not checked"),
        ("endpoint: 'http://h', tls: {ca_file: null}", None),
    ],
)
def test_otlp_warnings(loaded: Loaded, keys: str, warning: str | None) -> None:
    """What does not do what its writer may think is said."""
    warnings = loaded(MINIMAL.replace("type: console", f"type: otlp, {keys}")).warnings
    assert len(warnings) == (warning is not None)
    assert all(w.startswith("destinations[0].") and str(warning) in w for w in warnings)


@pytest.mark.parametrize(
    ("path", "words"),
    [("''", "journal.path (line 5): must not be empty"), ('"a\\0b"', "a NUL character")],
)
def test_a_journal_path_that_is_none(refused: Callable[..., str], path: str, words: str) -> None:
    """Neither nothing nor a NUL names a file."""
    assert words in refused(f"{MINIMAL}\njournal: {{path: {path}}}\n")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/nowhere/to/be/", "/nowhere/to/be/journal.sqlite"),
        ("/nowhere/to/be", "/nowhere/to/be"),
        (f"/{'x' * 5_000}", f"/{'x' * 5_000}"),
    ],
)
def test_a_slash_at_the_end_means_a_folder(loaded: Loaded, path: str, place: str) -> None:
    """Whether or not it is there; what cannot be looked at is left for the opening to refuse."""
    assert str(loaded(f"{MINIMAL}\njournal: {{path: {path}}}\n").journal.path) == place


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://fal.example.com", True),
        ("http://10.0.0.1:1", True),
        ("https://fal.example.com", False),
        ("http://localhost:9845", False),
        ("http://127.0.0.2:9845", False),
        ("http://[::1]:9845", False),
    ],
)
def test_a_key_in_the_open_deserves_a_word(loaded: Loaded, url: str, warned: bool) -> None:
    """Plain http:// to another machine shows the key to whoever listens."""
    warnings = loaded(environ={"BRIDGE_FAL__BASE_URL": url}).warnings
    assert any("plain http://" in warning for warning in warnings) is warned


def test_variables_in_small_letters_are_told(loaded: Loaded) -> None:
    """They are not read, and the right name is given."""
    (warning,) = loaded(environ={"bridge_poll__interval": "5s"}).warnings
    assert warning.endswith("unknown variable, ignored; did you mean BRIDGE_POLL__INTERVAL?")


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("admin: {enabled: false}", None),
        ("admin: {listen: h:1, token: x}", None),
        ("admin: {enabled: false, listen: h:1}", "admin: its other keys have no effect while"),
        ("telemetry: {endpoint: https://o.test, headers: {a: b}, interval: 1s}", None),
        ("telemetry: {endpoint: http://localhost:4318, headers: {a: b}}", None),
        (
            "telemetry: {endpoint: https://o.test, tls: {insecure_skip_verify: true}}",
            "telemetry.tls.insecure_skip_verify: the backend's certificate is not checked",
        ),
        ("telemetry: {interval: 1s}", "telemetry: its other keys have no effect without endpoint"),
        (
            "telemetry: {endpoint: http://o.test, headers: {a: b}}",
            "telemetry.headers: go over plain http:// and can be read on the way",
        ),
    ],
)
def test_keys_without_effect_deserve_a_word(loaded: Loaded, text: str, warning: str | None) -> None:
    """What is accepted and does nothing is said, and what shows a secret."""
    warnings = loaded(f"{MINIMAL}{text}\n").warnings
    assert [w.startswith(warning or "") for w in warnings] == [True] * (warning is not None)


@pytest.mark.parametrize(
    "text",
    [
        MINIMAL.replace('key: "id:the-secret-of-fal"', 'key_file: "a\\0b"'),
        MINIMAL.replace('"id:the-secret-of-fal"', '"${file:a\\0b}"'),
        MINIMAL.replace(
            "{name: out, type: console}",
            '{name: out, type: otlp, endpoint: "https://b.test", tls: {ca_file: "a\\0b"}}',
        ),
    ],
    ids=["key_file", "placeholder", "tls"],
)
def test_a_path_that_cannot_be(refused: Callable[..., str], text: str) -> None:
    """A NUL character in any path is a problem at its place."""
    message = refused(text)
    assert "embedded null byte" in message
    assert "\0" not in message


@pytest.mark.parametrize("written", ["-5000", "0", "inf"])
def test_an_impossible_timeout_is_shown_as_given(refused: Callable[..., str], written: str) -> None:
    """The variable's own number, not what it would be in seconds."""
    otlp = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}
    text = MINIMAL.replace("destinations: [{name: out, type: console}]\n", "")
    message = refused(text, {**otlp, "OTEL_EXPORTER_OTLP_TIMEOUT": written})
    assert f"not '{written}'" in message or f"not {written}" in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{endpoint: 'h:4317'}", "telemetry.endpoint (line 4): must be a URL such as"),
        ("{endpoint: 'http://h?x'}", "must not have a query"),
        ("{protocol: grpc, endpoint: 'http://h/v1'}", "must have no path with protocol grpc"),
        ("{protocol: http/json}", "telemetry.protocol (line 4): must be 'http/protobuf' or 'grpc'"),
        ("{endpoint: 'http://h', sampling_ratio: 2}", "sampling_ratio (line 4): must be less than"),
        ("{endpoint: 'http://h', tls: {ca_file: /away}}", "cannot read the file: No such file"),
        (
            "{protocol: grpc, endpoint: h, tls: {insecure_skip_verify: true}}",
            "insecure_skip_verify (line 4): is not for protocol grpc, which always checks",
        ),
    ],
)
def test_telemetry_that_cannot_be_sent(loaded: Loaded, text: str, said: str) -> None:
    """It is told at the start, as of a destination."""
    with pytest.raises(ConfigError) as caught:
        loaded(f"{MINIMAL}telemetry: {text}\n")
    assert said in str(caught.value)


@pytest.mark.parametrize("endpoint", ["h:4317", "http://localhost:4317", "https://h"])
def test_telemetry_over_grpc(loaded: Loaded, endpoint: str) -> None:
    """An endpoint as for any destination over gRPC."""
    config = loaded(f"{MINIMAL}telemetry: {{protocol: grpc, endpoint: '{endpoint}'}}\n")
    assert config.telemetry.endpoint == endpoint
    assert config.warnings == ()
