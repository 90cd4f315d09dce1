"""The native part, against the general way: whatever it is given, both come to the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.workers import LABELS, TIME, TRACEBACK, entries

from bridge.mapping import Mapper
from bridge.model import Entry, Identified, Json
from bridge.source import stencil as stencil_module
from bridge.source.decode import entry_of
from bridge.source.fingerprint import content_hash
from bridge.source.stencil import Stencils

pytestmark = pytest.mark.server("bridge.source._stencil")

_Writer = Callable[[Json], bytes]


def _compact(value: Json) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


_WRITERS: Final[dict[str, _Writer]] = {
    "compact": _compact,
    "spaced": lambda value: json.dumps(value).encode(),
    "in lines": lambda value: json.dumps(value, indent="\t").encode(),
    "slashes escaped": lambda value: _compact(value).replace(b"/", b"\\/"),
    "too much escaped": lambda value: json.dumps(value).replace("x", "\\u0078").encode(),
}


def raw(labels: dict[str, Json] | None = None, **fields: Json) -> dict[str, Json]:
    """A plain entry with these labels and fields too."""
    known = {"timestamp": TIME, "level": "INFO", "message": "x", "app": "one", "revision": "r1"}
    said = {**known, **fields}
    repeated = {"app": said["app"], "level": said["level"], "message": said["message"]}
    logged = {"logged_at": f"{said['timestamp']}+00:00"}
    return said | {"labels": {**LABELS, **repeated, **logged, **(labels or {})}}


def general(text: bytes) -> Entry:
    """The reference."""
    return entry_of(msgspec.json.decode(text))


def learned(*pages: bytes) -> Stencils:
    """Stencils that have met these pages as often as it takes."""
    stencils = Stencils(general)
    for page in pages * 2:
        stencils.entries(page)
    return stencils


def seen(entry: Entry) -> tuple[object, ...]:
    """All that anybody can see of an entry."""
    whence = entry.provenance
    mapper = Mapper(
        app="app", service=None, fallback_service="app", resource={}, stderr_severity=17
    )
    found = Identified(entry, entry.tick or 0, content_hash(entry))
    return (
        repr(entry.raw),
        entry.tick,
        whence and (whence.app, whence.revision, dict(whence.labels), whence.own),
        found.uid,
        mapper.encode([found], 1),
    )


def agree(stencils: Stencils, body: bytes) -> int:
    """Assert that both ways give the same; returns how many entries were cast."""
    scanned = stencils.entries(body)
    if scanned is None:
        return 0
    decoded = [entry_of(value) for value in msgspec.json.decode(body)]
    assert [seen(entry) for entry in scanned] == [seen(entry) for entry in decoded]
    return sum(entry.cast is not None for entry in scanned)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([*_WRITERS]),
    st.lists(entries() | st.none() | st.lists(st.none() | st.text()), min_size=1, max_size=4),
)
@example("compact", [raw()])
def test_either_way_gives_the_same(writer: str, values: list[Any]) -> None:
    """Values, times, identities and records, for plain entries, odd ones, and no entries at all."""
    page = _WRITERS[writer](values)
    agree(learned(page), page)


_PAGE: Final = _compact(
    [
        raw({"note": 'a "quoted" \\ line\n\x1b[1mbold\x1b[0m é 😀', "zeta": ""}, message="é\t1"),
        raw({"fal_job_id": "j2"}, level="STDERR"),
        raw({"status": [{"a": None}]}),
    ]
)
_MEANING: Final = (
    *(
        b'"',
        b"\\",
        b"\\/",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b" ",
        b"\n",
        b"\0",
        b"\xff",
        b"\xc3",
    ),
    *(b"\\u0000", b"\\u007F", b"\\u0072ace", b"\\ud83d\\ude00", b"\\ud83d", b"\\ude00"),
    *(b"null", b"0", b"level", b"race", b"Z"),
)
_bytes = st.sampled_from(_MEANING)
_changes = st.lists(
    st.tuples(st.integers(0, len(_PAGE)), st.integers(0, 8), st.just(b"") | _bytes), max_size=3
)


@settings(max_examples=1_000, deadline=None)
@given(_changes)
def test_a_damaged_page_is_read_alike_or_not_at_all(changes: list[tuple[int, int, bytes]]) -> None:
    """Bytes cut out, put in and replaced anywhere, in a page of which all shapes are known."""
    page = _PAGE
    for at, cut, instead in changes:
        page = page[:at] + instead + page[at + cut :]
    agree(learned(_PAGE), page)


def test_a_page_that_ends_anywhere_is_none() -> None:
    """Nor is one with something behind its end."""
    stencils = learned(_PAGE)
    assert stencils.entries(_PAGE + b" \n") is not None
    assert not [size for size in range(len(_PAGE)) if stencils.entries(_PAGE[:size]) is not None]
    assert stencils.entries(_PAGE + b"]") is None


@pytest.mark.parametrize("writer", [*_WRITERS])
@pytest.mark.parametrize(
    "plain",
    [
        raw(),
        raw(level="stdout"),
        raw(level="STDERR"),
        raw(message=""),
        raw(message='\x00\x1b[1m"\\/\b\f\n\r\t'),
        raw(message="x" * 3_000),
        raw({"environment": "blue", "zeta": "x" * 200, "note": ""}),
        raw({"fal_endpoint": None}),
        raw(app=None) | {"labels": LABELS},
        raw(timestamp="2024-02-29T23:59:59.999999"),
        raw(timestamp="2000-02-29T00:00:00.000001"),
        {key: value for key, value in raw().items() if key not in {"app", "revision"}}
        | {"labels": LABELS},
    ],
)
def test_plain_entries_are_cast(writer: str, plain: Json) -> None:
    """From the third of a shape on."""
    page = _WRITERS[writer]([plain])
    stencils = Stencils(general)
    assert [agree(stencils, page) for _ in range(4)] == [0, 0, 1, 1]


@pytest.mark.parametrize("writer", [*_WRITERS])
def test_text_beyond_ascii_is_cast(writer: str) -> None:
    """However it is written, every character of it."""
    for first in (0, 0x40, 0x80, 0x7C0, 0xD7C0, 0xFFC0, 0x1F600, 0x10FFC0):
        text = "".join(chr(c) for c in range(first, first + 64) if not 0xD800 <= c < 0xE000)
        page = _WRITERS[writer]([raw({"note": text[::-1]}, message=text)])
        assert agree(learned(page), page) == 1


@pytest.mark.parametrize(
    "text", [r"\ud800", r"\udc00", r"\ud800x\udc00", r"\udc00\ud800", r"\u0072ace"]
)
def test_escapes_that_hide_something_are_seen_through(text: str) -> None:
    """Half a character, which no text can hold, and a word that the general way looks for."""
    page = _compact([raw(message="@")]).replace(b"@", text.encode())
    stencils = learned(_compact([raw()]))
    assert agree(stencils, page) == 0
    assert (stencils.entries(page) is None) == ("ace" not in text)


@pytest.mark.parametrize(
    "other",
    [
        raw({"message": "y"}),
        raw({"level": "info"}),
        raw({"logged_at": TIME}),
        raw({"logged_at": "2025-09-19T12:16:11+00:00"}),
        raw({"note": 1}),
        raw({"note": None}),
        raw({"app": "two"}),
        raw({"traceback": "boom"}),
        raw({"my_traceback": "boom"}),
        raw({"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}),
        raw({"note": TRACEBACK}),
        raw({"app_id": "x" * 3_000}),
        raw({"k" * 3_000: ""}),
        raw({f"k{number}": "" for number in range(40)}),
        raw(message="a trace of it"),
        raw(message=TRACEBACK),
        raw(level="İnfo"),
        raw(level="in\tfo"),
        raw(level=None),
        raw(status="odd"),
        raw(revision={"a": 1}),
        raw(timestamp="1969-12-31T23:59:59.000000"),
        raw(timestamp="1970-01-01T00:00:00.000000"),
        raw(timestamp="2023-02-29T00:00:00.000000"),
        raw(timestamp="2023-13-01T00:00:00.000000"),
        raw(timestamp="2023-12-00T00:00:00.000000"),
        raw(timestamp="2023-12-01T24:00:00.000000"),
        raw(timestamp="2023-12-01T00:60:00.000000"),
        raw(timestamp="2023-12-01T00:00:60.000000"),
        raw(timestamp="2023-12-01 00:00:00.000000"),
        raw(timestamp="2600-12-01T00:00:00.000000"),
        raw(timestamp="2023-12-01T00:00:00.00000٣"),
        raw(timestamp="2023-12-01T00:00:00"),
        raw() | {"labels": None},
        raw() | {"labels": []},
        {key: value for key, value in raw().items() if key != "level"},
    ],
)
def test_all_others_are_not(other: Json) -> None:
    """Not even where their shape is known from a plain one."""
    page, plain = (
        _compact([other]),
        _compact([raw(), raw({"note": ""}), raw({"k": "", "note": ""})]),
    )
    stencils = learned(plain, page)
    assert agree(stencils, page) == 0


@pytest.mark.parametrize(
    "text",
    [
        '{"message":"first",%s}',
        '{%s,"message":"last"}',
        '{"labels":{"source":"first","note":"1"},%s}',
        '{%s,"labels":{"source":"last"}}',
        '{%s,"labels":null}',
        '{"app":"first",%s}',
        '{%s,"\\u0061pp":"escaped"}',
    ],
)
def test_of_a_name_that_comes_twice_the_last_counts(text: str) -> None:
    """As it does for the decoder, whatever stencil its other members make."""
    members = _compact(raw({"note": "1"})).decode()[1:-1]
    page = f"[{text % members}]".encode()
    assert page.isascii()
    stencils = learned(_compact([raw({"note": "1"})]), page, page)
    agree(stencils, page)
    twice = page.replace(b'"note":"1"', b'"note":"1","note":"2"').replace(b"first", b"other")
    for _ in range(3):
        agree(stencils, twice)


def test_values_move_within_a_shape() -> None:
    """What was learned from one entry says nothing of the next but its shape."""
    stencils = learned(_compact([raw({"note": "1", "alpha": "2"})]))
    other = raw(
        {"note": "11", "alpha": "", "fal_request_id": "q2"},
        timestamp="2025-10-01T00:00:00.000001",
        level="error",
        message='a "longer" one',
    )
    assert agree(stencils, _compact([other])) == 1


def test_apps_and_workers_have_stencils_of_their_own() -> None:
    """And an entry of one is never cast as the other's."""
    one, other = raw(), raw({"fal_job_id": "j2", "app": "two"}, app="two")
    page = _compact([one, other, one])
    assert agree(learned(page), page) == 3


def test_stencils_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes; it is learned anew when it comes again."""
    monkeypatch.setattr("bridge.source.stencil._MOST", 2)
    pages = [_compact([raw({"fal_job_id": name})]) for name in "abc"]
    stencils = learned(*pages[:2])
    assert [agree(stencils, page) for page in pages[:2]] == [1, 1]
    assert [agree(stencils, pages[2]) for _ in range(3)] == [0, 0, 1]
    assert agree(stencils, pages[0]) == 0
    assert len(stencils._known) == 2
    for number in range(5):
        agree(stencils, _compact([raw({"fal_job_id": f"once-{number}"})]))
    assert len(stencils._met) <= 2


def test_a_shape_that_makes_no_stencil_is_tried_once() -> None:
    """Its entries cost no more than those of a shape that nobody knows."""
    page = _compact([raw({"traceback": "boom"})])
    stencils = learned(page)
    (stencil,) = stencils._known.values()
    assert stencil == stencil_module._NONE
    assert agree(stencils, page) == 0


def test_no_shape_beyond_measure_is_kept() -> None:
    """A server that pads its entries does not fill the memory; they are read all the same."""
    page = _compact([raw()]).replace(b",", b"," + b" " * 2_000)
    stencils = learned(page)
    assert agree(stencils, page) == 0
    assert not stencils._known
    assert not stencils._met


def test_an_error_of_the_general_way_ends_the_page() -> None:
    """Nothing is half read: such a page goes the general way as a whole."""
    page = _compact([raw(), raw()])[:-1] + b',"\xff"]'
    assert learned(_compact([raw()])).entries(page) is None


def test_an_entry_is_decoded_once_and_only_for_who_asks() -> None:
    """Its value stays what its text says."""
    page = _compact([raw()])
    (entry,) = learned(page).entries(page) or ()
    assert entry.cast is not None
    assert entry.cast.value is msgspec.UNSET
    assert entry.raw == raw()
    assert entry.raw is entry.raw


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda s: s[:5], TypeError),
        (lambda s: [*s], TypeError),
        (lambda s: (*s[:3], s[3], (), s[5]), IndexError),
        (lambda s: (*s[:3], b"\x1f", (b"",), s[5]), TypeError),
        (lambda s: (*s[:5], ()), IndexError),
        (lambda s: (*s[:5], ((1,),)), TypeError),
        (lambda s: (*s[:2], "text", *s[3:]), TypeError),
        (lambda s: (None, *s[1:]), TypeError),
    ],
)
def test_a_bad_stencil_is_refused(
    wrong: Callable[[tuple[Any, ...]], Any], error: type[Exception]
) -> None:
    """A mistake of ours raises; it does not read what is not there."""
    page = _compact([raw()])
    stencils = learned(page)
    ((shape, stencil),) = stencils._known.items()
    stencils._known[shape] = wrong(stencil)
    with pytest.raises(error):
        stencils.entries(page)


def test_a_stencil_of_other_cuts_does_not_fit() -> None:
    """It is of another shape."""
    page = _compact([raw()])
    stencils = learned(page)
    ((shape, stencil),) = stencils._known.items()
    stencils._known[shape] = (stencil[0][:-1], *stencil[1:])
    assert agree(stencils, page) == 0
