"""The status page as a document: one file, a strict policy, colours that can be read."""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from bridge.admin.page import Page

PAGE = Page.load()
_ROOT = re.compile(r":root \{(.*?)\}", re.DOTALL)
_COLOUR = re.compile(r"--([a-z-]+): (#[0-9a-f]{6});")

TEXT, SHAPE = 4.5, 3.0
"""The least contrasts (WCAG 2.2: 1.4.3 and 1.4.11, level AA)."""


class Elements(HTMLParser):
    """The elements of a document, with their attributes and what an inline one holds."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.inline: dict[str, str] = {}
        self._open = ""
        self.feed(PAGE.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser.handle_starttag`."""
        self.all.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, _: str) -> None:
        """See `HTMLParser.handle_endtag`."""
        self._open = ""

    def handle_data(self, data: str) -> None:
        """See `HTMLParser.handle_data`."""
        if self._open in {"style", "script"}:
            self.inline[self._open] = self.inline.get(self._open, "") + data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.all if name == tag]


ELEMENTS = Elements()


def policy() -> dict[str, list[str]]:
    """The Content-Security-Policy's directives."""
    directives = PAGE.headers["content-security-policy"].split("; ")
    return {name: values for name, *values in (one.split() for one in directives)}


def test_it_asks_for_nothing() -> None:
    """No address but those of its own server, relative so that any prefix will do."""
    for tag, attributes in ELEMENTS.all:
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            value = attributes.get(name) or ""
            assert value.startswith(("#", "data:")) or re.fullmatch(r"[a-z]*", value), (tag, value)
    style = ELEMENTS.inline["style"]
    assert "url(" not in style
    assert "@import" not in style
    assert "http:" not in ELEMENTS.inline["script"].replace('"http://www.w3.org/2000/svg"', "")


def test_nothing_but_its_own_style_and_script_may_run() -> None:
    """Both by their hashes, so not what anybody put in beside them; and no way to write markup."""
    assert len(ELEMENTS.named("style")) == len(ELEMENTS.named("script")) == 1
    for tag in ("style", "script"):
        digest = base64.b64encode(sha256(ELEMENTS.inline[tag].encode()).digest()).decode()
        assert policy()[f"{tag}-src"] == [f"'sha256-{digest}'"]
    assert policy()["default-src"] == policy()["form-action"] == policy()["base-uri"] == ["'none'"]
    assert policy()["frame-ancestors"] == ["'none'"]
    assert policy()["connect-src"] == ["'self'"]
    assert policy()["require-trusted-types-for"] == ["'script'"]
    assert "unsafe" not in PAGE.headers["content-security-policy"]
    assert not any(name.startswith("on") or name == "style" for _, a in ELEMENTS.all for name in a)


def test_the_script_writes_text_only() -> None:
    """Not even where the policy would stop it."""
    script = ELEMENTS.inline["script"]
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "srcdoc",
    ):
        assert word not in script


def test_the_other_headers() -> None:
    """Not to be framed, kept or told of."""
    assert PAGE.headers["x-frame-options"] == "DENY"
    assert PAGE.headers["cache-control"] == "no-store"
    assert PAGE.headers["cross-origin-opener-policy"] == "same-origin"


def test_everything_has_a_name() -> None:
    """Language, title, landmarks, labels of controls, headers of tables."""
    assert ELEMENTS.named("html")[0]["lang"] == "en"
    for landmark in ("header", "main", "footer"):
        assert len(ELEMENTS.named(landmark)) == 1
    ids = {attributes["id"] for _, attributes in ELEMENTS.all if "id" in attributes}
    for _, attributes in ELEMENTS.all:
        for name in ("aria-labelledby", "aria-describedby", "for"):
            value = attributes.get(name)
            assert value is None or value in ids
    assert {attributes.get("scope") for attributes in ELEMENTS.named("th")} == {"col"}
    assert "<noscript>" in PAGE.html
    [live] = [a for _, a in ELEMENTS.all if a.get("aria-live")]
    assert (live["role"], live["aria-live"]) == ("status", "polite")
    assert "prefers-reduced-motion" in ELEMENTS.inline["style"]


def colours(scheme: str) -> dict[str, str]:
    """The colours of a scheme by their names."""
    light, dark = _ROOT.findall(ELEMENTS.inline["style"])
    return dict(_COLOUR.findall(light if scheme == "light" else light + dark))


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """The contrast of two colours (WCAG 2.2)."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


TONES = ("fine", "note", "warning", "failure")
PAIRS = [
    *((text, on, TEXT) for text in ("text", "muted", "accent") for on in ("bg", "card", "raised")),
    *((tone, on, TEXT) for tone in TONES for on in ("card", "raised", f"{tone}-bg")),
    *(("text", f"{tone}-bg", TEXT) for tone in TONES),
    ("on-accent", "accent", TEXT),
    ("control", "card", SHAPE),
    ("control", "bg", SHAPE),
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("text", "on", "least"), PAIRS)
def test_contrast(scheme: str, text: str, on: str, least: float) -> None:
    """Whatever stands on something can be seen, by day and by night."""
    known = colours(scheme)
    assert contrast(known[text], known[on]) >= least


def test_contrast_is_what_it_should_be() -> None:
    """The measure itself, by the two ends and a known middle."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
