"""The status page of the real command, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from support import browser
from support.acceptance_bridge import Command, Process
from support.acceptance_fal import KEY, FalAccount, line, micros
from support.acceptance_otlp import OtlpBackend, Refusal
from support.browser import Tab
from support.proxy import Proxy

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.server(*browser.NEEDS), pytest.mark.xdist_group("browser")]

TOKEN = "s3cret-token"
ROWS = "#entries tbody tr"
MESSAGE = "a line with <b>markup</b> and key-12345678"


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    """One browser for all tests here."""
    with browser.chromium() as opened:
        yield opened


@pytest.fixture
def fal(opened: ExitStack) -> FalAccount:
    """An account with a few lines."""
    account = opened.enter_context(FalAccount())
    account.write(line(micros() - n * 1_000, f"line {n}") for n in range(1, 10))
    account.write([line(micros(), MESSAGE)])
    return account


@pytest.fixture
def backend(opened: ExitStack) -> OtlpBackend:
    """A backend."""
    return opened.enter_context(OtlpBackend())


def started(command: Command, fal: FalAccount, backend: OtlpBackend, **admin: Any) -> Process:
    """A service under way, its app's keys masked."""
    mask = {"mask": [{"pattern": "key-[0-9]+", "replacement": "***"}]}
    config = command.config(
        fal.url,
        {"backend": backend.url},
        apps=[{"app_id": "app", "shape": mask}],
        admin={"listen": "127.0.0.1:0", **admin},
    )
    return command.start("run", "--config", config)


def address(bridge: Process) -> str:
    """Where its page is."""
    assert bridge.says('"admin_listening"'), bridge.err
    events = map(json.loads, bridge.err.splitlines())
    return next(f"http://{e['address']}" for e in events if e["event"] == "admin_listening")


def test_all_is_well(
    command: Command, fal: FalAccount, backend: OtlpBackend, chrome: Browser
) -> None:
    """From the first poll to a line on the screen, masked as it was delivered; no secret shows."""
    bridge = started(command, fal, backend, token=TOKEN)
    tab = Tab(chrome, f"{address(bridge)}/")
    tab.wait("document.querySelector('#verdict.fine')")
    assert tab.text("h1") == "All is well: 1 app is read, 1 destination takes what comes."
    tab.unlock(TOKEN)
    tab.wait(f"document.querySelectorAll('{ROWS}').length === 10")
    assert tab.text(f"{ROWS} .text") == "a line with <b>markup</b> and ***"
    assert backend.holds(10)
    tab.wait("document.querySelector('#destinations .state').innerText.trim() === 'up to date'")
    content = tab.page.content()
    for secret in (TOKEN, "key-12345678", *KEY.split(":")):
        assert secret not in content
    assert tab.complaints == []
    tab.close()
    ended = bridge.stop()
    assert ended.code == 0
    assert MESSAGE not in ended.err


def test_a_broken_backend(
    command: Command, fal: FalAccount, opened: ExitStack, chrome: Browser
) -> None:
    """It leads, in words, with what the backend said for who has the token; mended, all is well."""
    trouble = [Refusal(401, b"no such user")]
    backend = opened.enter_context(OtlpBackend(plan=lambda _: trouble[0] if trouble else None))
    bridge = started(command, fal, backend, token=TOKEN)
    tab = Tab(chrome, f"{address(bridge)}/")
    tab.wait("document.querySelector('#verdict.failure')")
    tab.wait("document.querySelector('h1').innerText.includes('10 entries wait')")
    assert tab.text("h1") == "backend refuses what it is sent. Nothing is lost: 10 entries wait."
    assert "no such user" not in tab.page.content()
    tab.unlock(TOKEN)
    tab.wait("document.querySelector('#destinations .problem').innerText.includes('no such user')")
    assert tab.text("#journal-used").endswith("wait")
    trouble.clear()
    tab.wait("document.querySelector('#verdict.fine')")
    assert "over by now" in tab.text("#destinations .problem")
    assert tab.complaints == []
    tab.close()
    assert bridge.stop().code == 0


def test_a_token_that_is_set_by_a_reload(
    command: Command, fal: FalAccount, backend: OtlpBackend, chrome: Browser
) -> None:
    """The page that told how to set one asks for it then; from there on entries are kept."""
    bridge = started(command, fal, backend)
    base = address(bridge)
    tab = Tab(chrome, f"{base}/")
    tab.page.wait_for_selector("#no-token:visible")
    assert backend.holds(10)
    listen = base.removeprefix("http://")
    command.config(fal.url, {"backend": backend.url}, admin={"listen": listen, "token": TOKEN})
    bridge.hang_up()
    tab.page.wait_for_selector("#unlock:visible")
    tab.unlock(TOKEN)
    tab.page.wait_for_selector("#entries-none:visible")
    fal.write([line(micros(), "written since")])
    tab.page.wait_for_selector(ROWS)
    assert tab.texts(f"{ROWS} .text") == ["written since"]
    tab.close()
    assert bridge.stop().code == 0


@pytest.mark.parametrize("strips", [True, False])
@pytest.mark.parametrize("slash", [True, False])
def test_behind_a_reverse_proxy(
    command: Command,
    fal: FalAccount,
    backend: OtlpBackend,
    opened: ExitStack,
    chrome: Browser,
    *,
    strips: bool,
    slash: bool,
) -> None:
    """Under a path that the proxy takes off, or leaves there; with or without the last slash."""
    prefix = {} if strips else {"path_prefix": "/fal/logs"}
    bridge = started(command, fal, backend, token=TOKEN, **prefix)
    proxy = opened.enter_context(Proxy(address(bridge), "/fal/logs", strips=strips))
    tab = Tab(chrome, proxy.url if slash else proxy.url.rstrip("/"))
    tab.wait("document.querySelector('#verdict.fine')")
    tab.unlock(TOKEN)
    tab.wait(f"document.querySelectorAll('{ROWS}').length === 10")
    assert all(
        asked.startswith(proxy.url.rstrip("/")) for asked in tab.asked if "data:" not in asked
    )
    assert (
        tab.page.get_attribute("footer a", "href") == f"{proxy.url.partition('/fal')[1]}/logs/livez"
    )
    assert tab.complaints == []
    tab.close()
    assert bridge.stop().code == 0
