"""Refused, down or stuck: it says so plainly, holds everything and goes on by itself."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from time import time

import pytest
from support.acceptance_bridge import Command
from support.acceptance_fal import KEY, FalAccount, Line, line, micros, tied
from support.acceptance_http import Asked
from support.acceptance_otlp import OtlpBackend, Plan, Refusal, difference

_WRONG = "wrong-key-id:c0ffee-wrong-key-secret"
_SECRETS = (_WRONG, "c0ffee-wrong-key-secret", KEY, KEY.partition(":")[2])


def _lines(count: int = 200) -> list[Line]:
    return tied(count, since=micros(time() - 60), most=3)


def _messages(lines: list[Line]) -> list[str]:
    return [one.message for one in lines]


def _tells_a_secret(text: str) -> bool:
    return any(secret in text for secret in _SECRETS)


def test_wrong_key(command: Command, opened: ExitStack) -> None:
    """A wrong key is told plainly, asked about a handful of times in 8 s, and never printed."""
    fal = opened.enter_context(FalAccount(_lines()))
    backend = opened.enter_context(OtlpBackend())
    apps = ["app", "second", "third", "fourth"]
    config = command.config(fal.url, {"backend": backend.url}, apps=apps, fal={"key": _WRONG})
    bridge = command.start("run", "--config", config)
    assert bridge.says("401", "Unauthorized", "Authentication is required", fal.url, "fal.key")
    assert not fal.wait_for(lambda: len(fal.asked) > 8, 8), "more than a handful of requests"
    assert len(fal.asked) >= 3, "it does not try again"
    assert bridge.alive
    ended = bridge.stop()
    assert ended.code == 0, ended.err
    assert not _tells_a_secret(ended.err + ended.out)
    assert len(ended.err.splitlines()) < 12, "not a line for every try"


def test_key_that_the_server_repeats(command: Command, opened: ExitStack) -> None:
    """A key is not printed either where the server's ``detail`` quotes it."""
    fal = opened.enter_context(FalAccount(_lines()))
    fal.echoes_key = True
    backend = opened.enter_context(OtlpBackend())
    config = command.config(fal.url, {"backend": backend.url}, fal={"key": _WRONG})
    ended = command.once(config, "--timeout", "1s", within=20)
    assert ended.code == 1, ended.err
    assert "401" in ended.err.splitlines()[-1]
    assert not _tells_a_secret(ended.err + ended.out)


def test_key_becomes_valid(command: Command, opened: ExitStack) -> None:
    """When the account begins to accept the key, reading begins, without a restart."""
    lines = _lines()
    fal = opened.enter_context(FalAccount(lines))
    backend = opened.enter_context(OtlpBackend())
    config = command.config(fal.url, {"backend": backend.url}, fal={"key": _WRONG})
    bridge = command.start("run", "--config", config)
    assert bridge.says("401")
    fal.keys.add(_WRONG)
    assert backend.holds(len(lines), 20), bridge.err
    assert bridge.says("reading again")
    ended = bridge.stop()
    assert ended.code == 0, ended.err
    assert not difference(backend, _messages(lines))
    assert not _tells_a_secret(ended.err)


def test_key_file_is_replaced(command: Command, opened: ExitStack, tmp_path: Path) -> None:
    """A new key in ``key_file`` is used without a restart: at first, and when it is rotated."""
    lines = _lines()
    fal = opened.enter_context(FalAccount(lines))
    backend = opened.enter_context(OtlpBackend())
    file = tmp_path / "fal-key"
    file.write_text(f"{_WRONG}\n", "utf-8")
    settings = {"key": None, "key_file": str(file)}
    config = command.config(fal.url, {"backend": backend.url}, fal=settings)
    bridge = command.start("run", "--config", config)
    assert bridge.says("401")
    _replace(file, KEY)
    assert backend.holds(len(lines), 20), bridge.err
    fresh = line(micros(), "after the rotation")
    fal.keys = {"rotated-id:rotated-secret"}
    _replace(file, "rotated-id:rotated-secret")
    fal.write([fresh])
    assert backend.holds(len(lines) + 1, 20), bridge.err
    ended = bridge.stop()
    assert ended.code == 0, ended.err
    assert not _tells_a_secret(ended.err)
    assert not difference(backend, [*_messages(lines), fresh.message])


def _replace(file: Path, key: str) -> None:
    """Put another key in place, in one step, as secret stores do."""
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{key}\n", "utf-8")
    fresh.replace(file)


def test_one_forbidden_app_stops_no_other(command: Command, opened: ExitStack) -> None:
    """An app that may not be read is told by name; the others go on, and so does it later."""
    lines, secret = _lines(), tied(50, since=micros(time() - 60), app="secret")
    fal = opened.enter_context(FalAccount([*lines, *secret]))
    fal.forbidden.add("secret")
    backend = opened.enter_context(OtlpBackend())
    config = command.config(fal.url, {"backend": backend.url}, apps=["secret", "app"])
    bridge = command.start("run", "--config", config)
    assert bridge.says("403", "secret", "may not read the logs of that application")
    assert backend.holds(len(lines), 10), bridge.err
    fal.forbidden.clear()
    assert backend.holds(len(lines) + len(secret), 20), bridge.err
    assert bridge.stop().code == 0
    assert not difference(backend, _messages([*lines, *secret]))


_REFUSALS = {
    "401": Refusal(401, b"bad token"),
    "404": Refusal(404, b"no such path"),
    "302": Refusal(302, headers={"Location": "http://127.0.0.1:9/login"}),
    "260": Refusal(260, b"ingestion blocked"),
    "400": Refusal(400, b"bad data"),
    "HTML": Refusal(200, b"<!DOCTYPE html><html><title>Sign in</title></html>"),
}


def test_blocked_backends(command: Command, opened: ExitStack) -> None:
    """Backends that refuse everything get everything once they recover; nothing is dropped."""
    lines = _lines()
    fal = opened.enter_context(FalAccount(lines))
    backends = {
        name: opened.enter_context(OtlpBackend(plan=_at_first(refusal)))
        for name, refusal in _REFUSALS.items()
    }
    config = command.config(fal.url, {f"b{name}": one.url for name, one in backends.items()})
    ended = command.once(config)
    assert ended.code == 0, ended.err
    for name, backend in backends.items():
        assert not difference(backend, _messages(lines)), name
        told = [line for line in ended.err.splitlines() if f"b{name}: held" in line]
        assert len(told) == 1, f"one line when it begins: {name}"
        assert name in told[0].partition("held")[2]
        assert f"b{name}: accepts again" in ended.err
        assert len(backend.tried) <= 6, f"a blocked backend is left in peace: {name}"


def _at_first(refusal: Refusal) -> Plan:
    return lambda number: refusal if number < 2 else None


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_too_large_requests_are_split(
    command: Command, opened: ExitStack, compression: str
) -> None:
    """A backend that answers 413 above 30 kB gets everything in pieces."""
    lines = tied(1_500, since=micros(time() - 60))
    fal = opened.enter_context(FalAccount(lines))
    backend = opened.enter_context(OtlpBackend(most_bytes=30_000))
    config = command.config(fal.url, {"backend": backend.url}, each={"compression": compression})
    ended = command.once(config)
    assert ended.code == 0, ended.err
    assert max(backend.sizes) > 30_000, "nothing was too large"
    assert not difference(backend, _messages(lines))


def test_record_too_large_for_the_backend(command: Command, opened: ExitStack) -> None:
    """A lone record above the backend's limit is kept as a dead letter and holds up no other."""
    lines = _lines()
    huge = line(lines[100].at, "z" * 40_000)
    fal = opened.enter_context(FalAccount([*lines, huge]))
    backend = opened.enter_context(OtlpBackend(most_bytes=30_000))
    ended = command.once(command.config(fal.url, {"backend": backend.url}))
    assert ended.code == 0, ended.err
    assert not difference(backend, _messages(lines))
    assert "dead letter" in ended.err
    assert "kept as dead letters: 1" in ended.err.splitlines()[-1]


def test_journal_full(command: Command, opened: ExitStack) -> None:
    """With no more room reading pauses and says for whom; with the backend back all arrives."""
    lines = tied(3_000, since=micros(time() - 300))
    fal = opened.enter_context(FalAccount(lines))
    down = opened.enter_context(OtlpBackend(listening=False))
    up = opened.enter_context(OtlpBackend())
    config = command.config(
        fal.url,
        {"down": down.url, "up": up.url},
        poll={"page_size": 100},
        journal={"max_bytes": "32KiB"},
    )
    bridge = command.start("run", "--config", config)
    assert bridge.says("app", "paused", "down"), bridge.err
    assert 0 < up.kept < len(lines)
    down.listen()
    for backend in (down, up):
        assert backend.holds(len(lines), 30), bridge.err
    assert bridge.stop().code == 0
    for backend in (down, up):
        assert not difference(backend, _messages(lines))


def test_one_of_two_destinations_down(command: Command, opened: ExitStack) -> None:
    """The other one gets everything at once; the first one all of it when it is there."""
    lines = _lines()
    fal = opened.enter_context(FalAccount(lines))
    down = opened.enter_context(OtlpBackend(listening=False))
    up = opened.enter_context(OtlpBackend())
    config = command.config(fal.url, {"down": down.url, "up": up.url})
    bridge = command.start("run", "--config", config)
    assert up.holds(len(lines), 10), bridge.err
    fresh = [line(micros(), f"meanwhile {n}") for n in range(3)]
    fal.write(fresh)
    assert up.holds(len(lines) + 3, 10), bridge.err
    assert bridge.says("down", "trying again")
    down.listen()
    assert down.holds(len(lines) + 3, 30), bridge.err
    assert bridge.stop().code == 0
    for backend in (up, down):
        assert not difference(backend, _messages([*lines, *fresh]))


def test_one_of_two_destinations_down_across_a_restart(command: Command, opened: ExitStack) -> None:
    """What one destination missed waits in the journal for the next run, and only for it."""
    lines = _lines()
    fal = opened.enter_context(FalAccount(lines))
    down = opened.enter_context(OtlpBackend(listening=False))
    up = opened.enter_context(OtlpBackend())
    config = command.config(fal.url, {"down": down.url, "up": up.url})
    bridge = command.start("run", "--config", config)
    assert up.holds(len(lines), 10), bridge.err
    ended = bridge.stop()
    assert ended.code == 0, ended.err
    assert "200 undelivered entries wait" in ended.err
    down.listen()
    ended = command.once(config)
    assert ended.code == 0, ended.err
    for backend in (up, down):
        assert not difference(backend, _messages(lines))


def test_stopped_while_a_backend_hangs(command: Command, opened: ExitStack) -> None:
    """SIGTERM ends it with 0 within a container's ten seconds; the rest comes with the next run."""
    lines = _lines()
    fal = opened.enter_context(FalAccount(lines))
    stuck = opened.enter_context(OtlpBackend())
    fine = opened.enter_context(OtlpBackend())
    stuck.hangs = True
    backends = {"stuck": stuck.url, "fine": fine.url}
    config = command.config(fal.url, backends, each={"timeout": "60s"})
    bridge = command.start("run", "--config", config)
    assert stuck.wait_for(lambda: bool(stuck.tried), 10), bridge.err
    assert fine.holds(len(lines), 10), bridge.err
    began = time()
    ended = bridge.stop(15)
    assert time() - began < 10
    assert ended.code == 0, ended.err
    stuck.hangs = False
    ended = command.once(config)
    assert ended.code == 0, ended.err
    for backend in (stuck, fine):
        assert not difference(backend, _messages(lines))


def test_stopped_while_the_api_hangs(command: Command, opened: ExitStack) -> None:
    """SIGTERM does not wait for a page that does not come."""
    fal = opened.enter_context(FalAccount(_lines()))
    fal.hangs = True
    backend = opened.enter_context(OtlpBackend())
    bridge = command.start("run", "--config", command.config(fal.url, {"backend": backend.url}))
    assert fal.wait_for(lambda: bool(fal.asked), 10), bridge.err
    began = time()
    ended = bridge.stop(15)
    assert time() - began < 3
    assert ended.code == 0, ended.err


def test_once_against_a_dead_backend(command: Command, opened: ExitStack) -> None:
    """``--once --timeout 3s`` ends with 1 and names what stands in the way; nothing is lost."""
    lines = _lines()
    fal = opened.enter_context(FalAccount(lines))
    dead = opened.enter_context(OtlpBackend(listening=False))
    config = command.config(fal.url, {"grafana": dead.url})
    ended = command.once(config, "--timeout", "3s", within=20)
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err
    last = ended.err.splitlines()[-1]
    assert "not caught up" in last
    assert "grafana" in last
    assert dead.url.removeprefix("http://") in last
    dead.listen()
    assert command.once(config).code == 0
    assert not difference(dead, _messages(lines))


def test_once_against_a_hanging_backend(command: Command, opened: ExitStack) -> None:
    """A backend that takes requests and never answers is named too."""
    fal = opened.enter_context(FalAccount(_lines()))
    stuck = opened.enter_context(OtlpBackend())
    stuck.hangs = True
    config = command.config(fal.url, {"grafana": stuck.url}, each={"timeout": "1s"})
    ended = command.once(config, "--timeout", "2s", within=30)
    assert ended.code == 1, ended.err
    assert "grafana" in ended.err.splitlines()[-1]


def test_once_against_a_hanging_api(command: Command, opened: ExitStack) -> None:
    """An API that never answers is what is named then, not a backend that has nothing to do."""
    fal = opened.enter_context(FalAccount(_lines()))
    fal.hangs = True
    backend = opened.enter_context(OtlpBackend())
    config = command.config(fal.url, {"grafana": backend.url})
    ended = command.once(config, "--timeout", "2s", within=30)
    assert ended.code == 1, ended.err
    assert "app" in ended.err.splitlines()[-1].partition("not caught up: ")[2].split(":")[0]
    assert "grafana" not in ended.err.splitlines()[-1]


def test_refused_request_shows_the_detail(command: Command, opened: ExitStack) -> None:
    """A person sees the ``detail`` of the API's refusal."""
    fal = opened.enter_context(FalAccount(_lines()))
    backend = opened.enter_context(OtlpBackend())
    config = command.config(f"{fal.url}/nowhere", {"backend": backend.url})
    ended = command.once(config, "--timeout", "1s", within=30)
    assert ended.code == 1, ended.err
    assert "404" in ended.err
    assert "Not Found" in ended.err


def test_api_down_at_the_start(command: Command, opened: ExitStack) -> None:
    """An API that comes up later is waited for; nothing written meanwhile is lost."""
    lines = _lines()
    fal = opened.enter_context(FalAccount(lines, listening=False))
    backend = opened.enter_context(OtlpBackend())
    bridge = command.start("run", "--config", command.config(fal.url, {"backend": backend.url}))
    assert bridge.says("app", "cannot read", "no answer")
    fal.listen()
    assert backend.holds(len(lines), 20), bridge.err
    assert bridge.stop().code == 0
    assert backend.bodies == Counter(_messages(lines))


def test_no_records_without_entries(command: Command, opened: ExitStack) -> None:
    """An empty account is no trouble, and a backend that is not needed is not asked."""
    asked: list[Asked] = []
    fal = opened.enter_context(FalAccount(before=asked.append))
    backend = opened.enter_context(OtlpBackend())
    ended = command.once(command.config(fal.url, {"backend": backend.url}))
    assert ended.code == 0, ended.err
    assert asked
    assert not backend.tried
