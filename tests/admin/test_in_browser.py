"""The status page in a real browser, over a view that is fed by hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from support import browser, viewing
from support.browser import Tab

from bridge import settings
from bridge.admin import Wanted
from bridge.admin.server import address_of, listening, serving
from bridge.app.parts import mapper_of
from bridge.app.recent import LONGEST_MESSAGE, MOST_SHOWN, Recent
from bridge.model import SECOND, Entry, Identified, Json
from bridge.timestamps import format_tick

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.server(*browser.NEEDS), pytest.mark.xdist_group("browser")]

AT = 1_758_283_200 * SECOND
TOKEN = "s3cret-token"
ROWS = "#entries tbody tr"
MOST_ROWS = 500
FLOOD = 5_000

SCRIPT = "<script>document.title='owned'</script><img src=x onerror=\"alert('owned')\">"


def finding(level: str, state: str, sentence: str, mend: str = "") -> Json:
    """One thing to say."""
    return {"level": level, "state": state, "sentence": sentence, "mend": mend}


def overview(name: str, waited: float) -> Json:
    """A bridge that reads one app and delivers to one destination."""
    return {
        "time": format_tick(AT),
        "version": "1",
        "uptime_seconds": 60.0,
        "verdict": finding("fine", "all is well", f"All is well: {name} is read."),
        "also": [],
        "apps": [
            {
                "app": name,
                **finding("fine", "reading", "It is read."),
                "position": format_tick(AT),
                "lag_seconds": 0.5,
                "rate": 5000.0,
                "read": 1,
                "late": {"entries": 3, "median_seconds": 1.0, "latest_seconds": 4.0},
                "open_gaps": 1,
                "gaps": [
                    {
                        "kind": "retention",
                        "since": format_tick(AT - SECOND),
                        "until": format_tick(AT),
                        "at_least": 0,
                        "found_at": format_tick(AT),
                    }
                ],
            }
        ],
        "destinations": [
            {
                "destination": name,
                **finding("failure", "held", "It refuses.", "`mend` it."),
                "since": None,
                "acknowledged": False,
                "cursor": 1,
                "waiting_records": 2,
                "waiting_bytes": 3_000,
                "oldest_seconds": waited,
                "rate": None,
                "delivered": 0,
                "dead_letters": 5,
            }
        ],
        "journal": {
            **finding("fine", "room", "The journal has room."),
            "bytes": 3_000,
            "max_bytes": 10_000,
            "held_by": name,
            "dead_letter_bytes": 10,
            "dead_letters_max_bytes": 100,
        },
    }


@dataclass
class Fed(viewing.Shown):
    """Shows what `log` was given; ``flood`` entries more come with each question for entries."""

    name: str = "app"
    reason: str = "no"
    recent: Recent = field(default_factory=Recent)
    waited: float = 4.0
    flood: int = 0
    answered: int = 0
    written: int = 0

    def __post_init__(self) -> None:
        self._mapper = mapper_of(settings.App(app_id="app"))

    def log(self, *messages: str, level: str = "INFO") -> None:
        """Journal some entries."""
        found = []
        for message in messages:
            self.written += 1
            tick = AT + self.written * 1_000
            raw = {"timestamp": format_tick(tick), "level": level, "message": message, "app": "app"}
            uid = self.written.to_bytes(16, "big")
            found.append(Identified(Entry(raw, tick), tick, uid))
        self.recent.add(self.name, self._mapper.encode(found, AT))

    async def overview(self) -> Json:
        """See `View.overview`."""
        return overview(self.name, self.waited)

    def history(self) -> Json:
        """See `View.history`."""
        samples = [None, 1.0, 3.0, None, 2.0]
        return {
            "every_seconds": 10.0,
            "apps": {self.name: {"lag": samples, "rate": samples}},
            "destinations": {self.name: {"age": samples, "rate": samples}},
        }

    async def entries(self, wanted: Wanted) -> Json:
        """See `View.entries`."""
        self.log(*(f"line {self.written + n}" for n in range(self.flood)))
        self.answered += 1
        return self.recent.snapshot().find(wanted)

    async def problems(self) -> Json:
        """See `View.problems`."""
        told = {self.name: {"time": format_tick(AT), "text": self.reason}}
        letters = {"destination": self.name, "reason": self.reason, "letters": 5}
        return {
            "apps": told,
            "destinations": told,
            "dead_letters": [{**letters, "newest": format_tick(AT)}],
        }


@contextmanager
def served(view: Fed, token: str | None = TOKEN) -> Iterator[str]:
    """Serve a view from a thread of its own; its URL."""
    listener = listening("127.0.0.1", 0)
    url = f"http://{address_of(listener)}/"
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        async with serving(view, listener, lambda _: None, token):
            await stop.wait()

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(main())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    """One browser for all tests here; each has tabs of its own."""
    with browser.chromium() as opened:
        yield opened


@contextmanager
def opened(
    chrome: Browser, view: Fed, *, token: str | None = TOKEN, unlock: bool = True, **options: Any
) -> Iterator[Tab]:
    """The page over a view; in the end nothing may have gone wrong in it."""
    with served(view, token) as url:
        tab = Tab(chrome, url, **options)
        tab.wait("!document.querySelector('#verdict').hidden")
        if unlock:
            tab.unlock(TOKEN)
            tab.page.wait_for_selector(ROWS)
        yield tab
        assert tab.complaints == []
        assert all(asked.startswith(url) for asked in tab.asked if not asked.startswith("data:"))
        tab.close()


HOSTILE = [
    (SCRIPT, SCRIPT),
    ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
    ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
    ("a\x00b\rc\x7fd\x85e", "a\\x00b\\x0dc\\x7fd\\x85e"),
    ("safe\u202egnp.exe", "safe\\u{202e}gnp.exe"),
    (
        "\u2066in\u2069 \u200fright\u200b\ufeff",
        "\\u{2066}in\\u{2069} \\u{200f}right\\u{200b}\\u{feff}",
    ),
    ("\u2028sep", "\\u{2028}sep"),
    ("\U000e0041tag", "\\u{e0041}tag"),
    ("two\r\nlines\tand a tab", "two\nlines\tand a tab"),
    (
        "\u0645\u200c\u0646 \U0001f469\u200d\U0001f680",
        "\u0645\u200c\u0646 \U0001f469\u200d\U0001f680",
    ),
    ("&lt;b&gt; ${x} {{y}} `z`", "&lt;b&gt; ${x} {{y}} `z`"),
]


def test_hostile_lines_are_text(chrome: Browser) -> None:
    """Markup is words; what hides, drives terminals or turns the direction is written out."""
    view = Fed()
    view.log(*(line for line, _ in HOSTILE))
    with opened(chrome, view) as tab:
        shown = tab.page.locator(f"{ROWS} .text").all_text_contents()
        assert shown[::-1] == [said for _, said in HOSTILE]
        assert "owned" not in tab.page.title()
        assert tab.page.locator(f"{ROWS} img, {ROWS} script, {ROWS} a").count() == 0
        turned = "e => getComputedStyle(e).unicodeBidi + getComputedStyle(e).direction"
        assert set(tab.page.locator(f"{ROWS} .text").evaluate_all(f"all => all.map({turned})")) == {
            "isolateltr"
        }


def test_hostile_names_and_reasons_are_text(chrome: Browser) -> None:
    """So is what comes from elsewhere: names, what a backend answered."""
    view = Fed(name=SCRIPT, reason=f"{SCRIPT}\u202e")
    view.log("a line")
    with opened(chrome, view) as tab:
        tab.wait("document.querySelector('#destinations .problem:not([hidden])')")
        for place in ("#apps th .sub", "h1"):
            assert tab.page.locator(place).count() >= 1
        assert SCRIPT in tab.text("#apps tbody th")
        assert SCRIPT in tab.text("h1")
        assert f"{SCRIPT}\\u{{202e}}" in tab.text("#destinations .problem")
        assert f"{SCRIPT}\\u{{202e}}" in tab.text("#record")
        assert tab.page.locator("main img, main script").count() == 0


def test_long_lines_are_cut_and_fold(chrome: Browser) -> None:
    """100 KB in one line, in a thousand lines, in control characters: rows stay small."""
    view = Fed()
    for line in ("x" * 100_000, "y\n" * 50_000, "z\x00" * 50_000, "\u0301" * 100_000):
        view.log(line)
    with opened(chrome, view, viewport={"width": 360, "height": 740}) as tab:
        rows = tab.page.locator(ROWS)
        assert rows.count() == 4
        assert max(rows.evaluate_all("all => all.map(e => e.offsetHeight)")) < 250
        assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert tab.page.evaluate("document.querySelectorAll('.mark').length") < 100
        for shown in rows.locator(".text").all_text_contents():
            assert "more characters, not shown here" in shown
            assert len(shown) < 4 * LONGEST_MESSAGE
        more = rows.nth(3).locator("button")
        assert more.get_attribute("aria-expanded") == "false"
        folded = rows.nth(3).evaluate("e => e.offsetHeight")
        more.press("Enter")
        assert more.get_attribute("aria-expanded") == "true"
        assert rows.nth(3).evaluate("e => e.offsetHeight") > folded


def test_five_thousand_entries_a_second_do_not_freeze_it(chrome: Browser) -> None:
    """Each question finds 5,000 new entries; the page goes on painting, and stays as large."""
    view = Fed(flood=FLOOD)
    view.log("the first")
    with opened(chrome, view) as tab:
        tab.page.evaluate(
            "window.frames_ = 0; const tick = () => { frames_++; requestAnimationFrame(tick) };"
            "requestAnimationFrame(tick)"
        )
        for _ in range(5):
            answered, painted = view.answered, tab.page.evaluate("frames_")
            newest = tab.text(f"{ROWS}:first-child .text")
            tab.wait(f"document.querySelector('{ROWS} .text').innerText !== '{newest}'")
            assert view.answered > answered
            tab.wait(f"frames_ > {painted + 5}")
            assert tab.page.evaluate("6 * 7") == 42
            assert tab.page.locator(ROWS).count() <= MOST_ROWS
        assert f"{FLOOD - MOST_SHOWN:,} entries in between not shown" in tab.text(f"{ROWS}.left")
        # And it can be used meanwhile: the filter finds what scrolled by long ago.
        tab.page.fill("#text", f"line {view.written - 3}")
        tab.wait(f"document.querySelectorAll('{ROWS}').length === 1")


def test_filters(chrome: Browser) -> None:
    """By level and text, together; nothing that matches is a state of its own."""
    view = Fed()
    for level in ("DEBUG", "INFO", "WARNING", "ERROR"):
        view.log(f"one {level}", f"two {level}", level=level)
    with opened(chrome, view) as tab:
        assert tab.page.locator(ROWS).count() == 8
        tab.page.select_option("#level", "WARNING")
        tab.wait(f"document.querySelectorAll('{ROWS}').length === 4")
        tab.page.fill("#text", "TWO")
        tab.wait(f"document.querySelectorAll('{ROWS}').length === 2")
        assert tab.texts(f"{ROWS} .text") == ["two ERROR", "two WARNING"]
        view.log("two more", level="INFO")
        view.log("two last", level="ERROR")
        tab.wait(f"document.querySelectorAll('{ROWS}').length === 3")
        assert tab.texts(f"{ROWS} .text")[0] == "two last"
        tab.page.fill("#text", "nowhere")
        tab.page.wait_for_selector("#entries-none:visible")
        assert tab.text("#entries-none") == "None of the last entries match."
        tab.page.fill("#text", "")
        tab.page.select_option("#level", "")
        tab.wait(f"document.querySelectorAll('{ROWS}').length === 10")


def test_entries_are_in_the_order_of_their_times(chrome: Browser) -> None:
    """Also those that came with an earlier answer: apps are read one after the other."""
    view = Fed()
    view.log("0", "1", "2")
    view.written += 3
    view.log("6")
    with opened(chrome, view) as tab:
        view.written -= 4
        view.log("3", "4", "5")
        view.written += 1
        view.log("7")
        tab.wait(f"document.querySelectorAll('{ROWS}').length === 8")
        assert tab.texts(f"{ROWS} .text") == list("76543210")


def test_a_level_is_told_by_word_and_shape(chrome: Browser) -> None:
    """Not by colour alone."""
    view = Fed()
    for level in ("INFO", "WARNING", "ERROR"):
        view.log(level, level=level)
    with opened(chrome, view) as tab:
        shapes = "e => [e.innerText.trim(), e.querySelector('use')?.getAttribute('href') ?? '']"
        levels = tab.page.locator(f"{ROWS} .level").evaluate_all(f"all => all.map({shapes})")
        assert levels == [["ERROR", "#failure"], ["WARNING", "#warning"], ["INFO", ""]]
        assert "#failure" in (
            tab.page.locator("#destinations .state use").get_attribute("href") or ""
        )
        assert tab.text("#destinations .state").strip() == "held"


def test_the_token(chrome: Browser) -> None:
    """Asked for, refused, taken, kept for the tab, forgotten; and never in an address."""
    view = Fed()
    view.log("a line of a log")
    with opened(chrome, view, unlock=False) as tab:
        tab.page.wait_for_selector("#unlock:visible")
        assert "All is well" in tab.text("h1")
        assert tab.text("#apps .state").strip() == "reading"
        assert view.answered == 0
        tab.unlock("wrong")
        tab.wait("document.querySelector('#wrong').textContent !== ''")
        assert tab.text("#wrong") == "This is not the admin token."
        assert "a line of a log" not in tab.page.content()
        tab.unlock(TOKEN)
        tab.page.wait_for_selector(ROWS)
        assert tab.text(f"{ROWS} .text") == "a line of a log"
        tab.page.reload()
        tab.page.wait_for_selector(ROWS)
        tab.page.click("#forget")
        tab.page.wait_for_selector("#unlock:visible")
        assert "a line of a log" not in tab.page.content()
        assert tab.page.evaluate("[sessionStorage.length, localStorage.length]") == [0, 0]
        assert tab.page.evaluate("document.cookie") == ""
        assert not any(TOKEN in asked for asked in tab.asked)
        assert {complaint for complaint in tab.complaints if "401" not in complaint} == set()
        tab.complaints.clear()  # the browser itself notes a 401


def test_without_a_token_configured(chrome: Browser) -> None:
    """It says how to set one, asks for no entries, and shows all the rest."""
    view = Fed()
    view.log("a line of a log")
    with opened(chrome, view, token=None, unlock=False) as tab:
        tab.page.wait_for_selector("#no-token:visible")
        assert "token: ${env:ADMIN_TOKEN}" in tab.text("#no-token")
        assert tab.page.locator("#unlock:visible, #lines:visible, #filter:visible").count() == 0
        assert tab.text("#journal-used") == "2.9 KiB wait"
        assert tab.text("#journal-held") == "On its way: nothing has waited for long."
        assert view.answered == 0


def test_pausing(chrome: Browser) -> None:
    """Paused, nothing is asked and nothing moves; then it goes on where it was."""
    view = Fed()
    view.log("one")
    with opened(chrome, view) as tab:
        pause = tab.page.locator("#pause")
        pause.press("Enter")
        assert pause.get_attribute("aria-pressed") == "true"
        tab.page.wait_for_load_state("networkidle")
        asked = len(tab.asked)
        view.log("two")
        tab.pass_by(5)
        assert len(tab.asked) == asked
        assert tab.page.locator(ROWS).count() == 1
        pause.press("Enter")
        tab.wait(f"document.querySelectorAll('{ROWS}').length === 2")


def test_reading_further_down_holds_the_list(chrome: Browser) -> None:
    """Nothing jumps away under somebody's eyes; one press brings the newest."""
    view = Fed()
    view.log(*(f"line {n}" for n in range(150)))
    with opened(chrome, view) as tab:
        tab.page.evaluate("document.querySelector('#scroll').scrollTop = 500")
        tab.page.wait_for_selector("#newest:visible")
        top = tab.page.evaluate("document.querySelector('#scroll').scrollTop")
        answered = view.answered
        view.log("newer")
        tab.pass_by(5)
        assert view.answered <= answered + 1  # one may have been under way
        assert tab.page.evaluate("document.querySelector('#scroll').scrollTop") == top
        tab.page.click("#newest")
        tab.wait(f"document.querySelector('{ROWS} .text').innerText === 'newer'")


def test_nothing_moves_when_nothing_changed(chrome: Browser) -> None:
    """Polls that say the same leave every element as it is."""
    view = Fed()
    view.log("one")
    with opened(chrome, view) as tab:
        tab.wait("document.querySelector('#destinations .problem:not([hidden])')")
        tab.page.evaluate(
            "window.changes = []; new MutationObserver(all => changes.push(...all.map("
            "one => one.target.nodeName + (one.target.id || one.target.parentElement?.id))))"
            ".observe(document.querySelector('main'), {childList: true, subtree: true,"
            " characterData: true})"
        )
        count = len(tab.asked)
        while len([asked for asked in tab.asked[count:] if asked.endswith("/overview")]) < 3:
            tab.pass_by(5)
        assert tab.page.evaluate("changes") == []


def test_a_new_verdict_is_read_aloud(chrome: Browser) -> None:
    """And not each new number in it."""
    view = Fed()
    with opened(chrome, view, unlock=False) as tab:
        assert tab.page.text_content("#spoken") == "All is well: app is read."
        for name, spoken in (("7", "All is well: 7 is read."), ("8", "All is well: 7 is read.")):
            view.name = name
            tab.wait(f"document.querySelector('h1').innerText === 'All is well: {name} is read.'")
            assert tab.page.text_content("#spoken") == spoken


def test_a_bridge_that_is_gone(chrome: Browser) -> None:
    """It says so, and what is below stays as the last that was heard."""
    view = Fed()
    with served(view) as url:
        tab = Tab(chrome, url)
        tab.wait("document.querySelector('#verdict.fine')")
    tab.wait("document.querySelector('#verdict.failure')")
    assert tab.text("h1") == "The bridge does not answer."
    assert tab.text("#apps .state").strip() == "reading"
    assert "no answer" in tab.page.title()
    tab.close()


def test_who_holds_the_journal(chrome: Browser) -> None:
    """The one that is furthest behind, once that is no mere moment."""
    view = Fed(name="siem", waited=45.0)
    with opened(chrome, view, unlock=False) as tab:
        assert tab.text("#journal-held") == "Held by siem, which is furthest behind."
        assert tab.page.get_attribute("#journal-bar", "aria-valuenow") == "30"


def test_charts(chrome: Browser) -> None:
    """Lines with holes where nothing is known, and their meaning in words."""
    with opened(chrome, Fed(), unlock=False) as tab:
        tab.wait("document.querySelector('#apps .chart .line').getAttribute('d') !== ''")
        line = tab.page.get_attribute("#apps .chart .line", "d") or ""
        assert line.count("M") == 2
        assert tab.page.get_attribute("#apps .chart", "aria-label") == (
            "Behind in the last 5 min: most 3.0 s"
        )


def test_by_keyboard(chrome: Browser) -> None:
    """Everything that can be pressed is reached by Tab, in order, and shows that it is."""
    view = Fed()
    view.log("x" * 5_000)
    with opened(chrome, view) as tab:
        tab.page.mouse.click(1, 1)
        reached = []
        for _ in range(12):
            tab.page.keyboard.press("Tab")
            reached.append(
                tab.page.evaluate(
                    "[document.activeElement.id || document.activeElement.className ||"
                    " document.activeElement.textContent,"
                    " getComputedStyle(document.activeElement).outlineStyle]"
                )
            )
        names = [name for name, _ in reached]
        order = ["skip", "pause", "level", "text", "forget", "scroll", "more", "livez"]
        assert [name for name in names if name in order] == order
        assert {outline for name, outline in reached if name in order} == {"solid"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_it_fits(chrome: Browser, scheme: str, width: int) -> None:
    """No screen has to be pushed sideways; the colours follow the system's."""
    view = Fed(name="an-app-with-a-rather-long-name-that-does-not-end" * 3)
    view.log("word " * 100, "x" * 300)
    size = {"width": width, "height": 800}
    with opened(chrome, view, color_scheme=scheme, viewport=size) as tab:
        assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        wide = "all => all.filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
        assert tab.page.locator("main *:visible").evaluate_all(wide) == 0
        background = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(245, 246, 248)" if scheme == "light" else "rgb(15, 19, 24)")


def test_without_scripts(chrome: Browser) -> None:
    """It says what it needs and what does without."""
    with served(Fed()) as url:
        tab = Tab(chrome, url, java_script_enabled=False)
        assert "fal-log-bridge status" in tab.text("noscript")
        tab.close()
