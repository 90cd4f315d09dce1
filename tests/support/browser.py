"""Headless Chromium, with a profile of its own for each start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from shutil import which
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NEEDS: Final = ("chromium", "playwright")
"""What a test that opens a browser is marked with."""

PATIENCE: Final = 60_000.0
"""Milliseconds that anything may take before a test gives up: machines can be busy."""

_STEP: Final = 50.0

_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; while it is open, the thread's asyncio belongs to what drives it."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not always there

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=which("chromium"), args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """One page, with everything it complained about.

    ``options`` are those of a new context, such as ``color_scheme``.
    """

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self._context = browser.new_context(**options)
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.clock.install()  # it runs on by itself; see `pass_by`
        self.page.goto(url)

    def close(self) -> None:
        """Close it."""
        self._context.close()

    def unlock(self, token: str) -> None:
        """Give the token, as a person does: by keyboard."""
        self.page.fill("#token", token)
        self.page.press("#token", "Enter")

    def wait(self, script: str) -> None:
        """Wait until an expression of the page is true; asked from outside, as its policy wants.

        Raises:
            AssertionError: it never is.
        """
        for _ in range(int(PATIENCE / _STEP)):
            if self.page.evaluate(script):
                return
            self.page.wait_for_timeout(_STEP)
        raise AssertionError(f"never true: {script}")

    def pass_by(self, seconds: float) -> None:
        """Let the page's own clock leap: whatever it does by the clock, it does now."""
        self.page.clock.fast_forward(round(1_000 * seconds))
        self.page.wait_for_load_state("networkidle")

    def text(self, selector: str) -> str:
        """What the first such element shows."""
        shown: str = self.page.inner_text(selector)
        return shown

    def texts(self, selector: str) -> list[str]:
        """What all such elements show."""
        shown: list[str] = self.page.locator(selector).all_inner_texts()
        return shown
