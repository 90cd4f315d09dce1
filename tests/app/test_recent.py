"""The last entries: what is kept, what is found, what is shown of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import settings
from bridge.admin import Wanted
from bridge.app.parts import mapper_of
from bridge.app.recent import LONGEST_MESSAGE, MOST_SHOWN, Recent, Watched
from bridge.mapping import Mapper
from bridge.model import ALL_DROPPED, SECOND, Entry, Gap, GapKind, Identified, Json
from bridge.timestamps import format_tick

AT = 1_758_283_200 * SECOND


def entries(*messages: Json, first: int = 0, level: str = "INFO") -> list[Identified]:
    """Entries a second apart."""
    made = []
    for n, message in enumerate(messages, first):
        tick = AT + n * SECOND
        raw = {"timestamp": format_tick(tick), "level": level, "message": message, "app": "own"}
        made.append(Identified(Entry(raw, tick), tick, n.to_bytes(16, "big")))
    return made


def watched(recent: Recent, app: str | None = "app", **shape: Any) -> Watched:
    """A mapper that is watched."""
    spec = {"app_id": app} if app else {"name": "all"}
    return Watched(app, mapper_of(settings.App.model_validate({**spec, **shape})), recent)


def journal(mapper: Watched, found: Sequence[Identified], *gaps: Gap) -> None:
    """What an append comes to."""
    mapper.encode(found, AT, gaps)
    mapper.settle()


def messages(recent: Recent, **wanted: Any) -> list[str]:
    """The messages that are found, the newest first."""
    return [one["message"] for one in recent.snapshot().find(Wanted(**wanted))["entries"]]


def test_the_newest_first_with_what_there_is_to_say() -> None:
    """One entry as it is shown."""
    recent = Recent()
    journal(watched(recent), entries("a", "b", level="ERROR"))
    answer = recent.snapshot().find(Wanted())
    assert [one["message"] for one in answer["entries"]] == ["b", "a"]
    assert answer["entries"][1] == {
        "number": 0,
        "time": "2025-09-19T12:00:00.000Z",
        "severity": 17,
        "level": "ERROR",
        "app": "app",
        "message": "a",
        "length": 1,
    }
    assert answer["left_out"] == 0


def test_what_is_not_journaled_is_not_shown() -> None:
    """An append that failed shows nothing; tried again, its entries come once."""
    recent = Recent()
    mapper = watched(recent)
    mapper.encode(entries("a"), AT)
    assert messages(recent) == []
    mapper.encode(entries("a"), AT)
    mapper.settle()
    mapper.settle()
    assert messages(recent) == ["a"]


def test_masked_is_masked_and_dropped_is_gone() -> None:
    """It is kept after the app's rules; a gap's record is there too."""
    recent = Recent()
    shape = {
        "mask": [{"pattern": "key-[0-9]+", "replacement": "***"}],
        "drop": [{"message": "noise"}],
    }
    gap = Gap(GapKind.RETENTION, AT, AT + SECOND, 0)
    mapper = watched(recent, shape=shape)
    journal(mapper, entries("has key-123 in it", "noise"), gap)
    journal(mapper, entries("noise"))
    shown = messages(recent)
    assert "has *** in it" in shown
    assert len(shown) == 2
    assert "key-123" not in str(recent.snapshot().find(Wanted()))


def test_whose_it_is() -> None:
    """The configured name; where the whole account is read, the entry's own word."""
    recent = Recent()
    journal(watched(recent, None), entries("a"))
    journal(watched(recent, "mine"), entries("b", first=1))
    assert [one["app"] for one in recent.snapshot().find(Wanted())["entries"]] == ["mine", "own"]


def test_going_on() -> None:
    """Only what came since; another process' numbers are not taken for ours."""
    recent = Recent()
    mapper = watched(recent)
    journal(mapper, entries("a"))
    after = recent.snapshot().find(Wanted())["next"]
    assert messages(recent, after=after) == []
    journal(mapper, entries("b", "c", first=1))
    assert messages(recent, after=after) == ["c", "b"]
    for strange in (
        "ffffffff.1",
        ".",
        "",
        "1",
        after.replace(".", ".x"),
        f"{after}٣",
        after + "9" * 5_000,
    ):
        assert messages(recent, after=strange) == ["c", "b", "a"]
    other = Recent().snapshot().find(Wanted())["next"]
    assert messages(recent, after=other) == ["c", "b", "a"]


def test_filters() -> None:
    """By level and by text, in whatever case; what has no level is shown."""
    recent = Recent()
    mapper = watched(recent)
    for n, level in enumerate(("DEBUG", "INFO", "WARNING", "ERROR", "odd")):
        journal(mapper, entries(f"Line {level}", first=n, level=level))
    assert messages(recent, min_severity=13) == ["Line odd", "Line ERROR", "Line WARNING"]
    assert messages(recent, text="line warn") == ["Line WARNING"]
    assert messages(recent, text="[") == []
    journal(mapper, entries("x" * 5_000 + "needle", {"deep": ["Needle"]}, first=9))
    assert len(messages(recent, text="NEEDLE")) == 2  # also behind what is shown


def test_long_messages_are_cut() -> None:
    """By characters; how long it was is said."""
    recent = Recent()
    journal(watched(recent), entries("ü" * 100_000))
    [one] = recent.snapshot().find(Wanted())["entries"]
    assert one["message"] == "ü" * LONGEST_MESSAGE
    assert one["length"] == 100_000


def test_so_many_at_a_time() -> None:
    """The newest are shown, and what was not looked at is counted."""
    recent = Recent()
    mapper = watched(recent)
    journal(mapper, entries("old"))
    after = recent.snapshot().find(Wanted())["next"]
    journal(mapper, entries(*map(str, range(1_500)), first=1))
    answer = recent.snapshot().find(Wanted(after=after))
    assert [int(one["message"]) for one in answer["entries"]] == list(
        range(1_499, 1_499 - MOST_SHOWN, -1)
    )
    assert answer["left_out"] == 1_500 - MOST_SHOWN
    assert recent.snapshot().find(Wanted(after=answer["next"]))["entries"] == []


def test_it_is_bounded() -> None:
    """In records and in bytes, by whole batches; what went is counted for who asks later."""
    by_count = Recent(most_records=10)
    mapper = watched(by_count)
    after = by_count.snapshot().find(Wanted())["next"]
    for n in range(8):
        journal(mapper, entries(*(f"{n}.{m}" for m in range(4)), first=4 * n))
    assert [one.partition(".")[0] for one in messages(by_count)] == ["7"] * 4 + ["6"] * 4
    assert by_count.snapshot().find(Wanted(after=after))["left_out"] == 24
    by_size = Recent(most_bytes=2_000)
    mapper = watched(by_size)
    for n in range(8):
        journal(mapper, entries("x" * 900, first=n))
    assert len(messages(by_size)) == 1
    journal(mapper, entries("y" * 9_000, first=99))
    assert messages(by_size) == []  # larger than all that may be kept
    journal(mapper, entries("z", first=100))
    assert messages(by_size) == ["z"]


def test_it_forgets() -> None:
    """When nobody may look any more."""
    recent = Recent()
    mapper = watched(recent)
    journal(mapper, entries("a"))
    recent.clear()
    assert messages(recent) == []
    journal(mapper, entries("b", first=1))
    assert messages(recent) == ["b"]


def test_nothing_is_decoded_until_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five thousand entries cost a reference for each batch; no record is opened."""

    def opened(_: bytes) -> None:
        raise AssertionError

    found = entries(*(f"line {n}" for n in range(5_000)))
    made = mapper_of(settings.App(app_id="app")).encode(found, AT)
    monkeypatch.setattr("bridge.app.recent.gzip.decompress", opened)
    monkeypatch.setattr("bridge.app.recent.records_of", opened)
    recent = Recent()
    recent.add("app", made)
    assert len(made) == len(recent.snapshot().kept) == 5
    assert all(
        kept.batch is batch for kept, batch in zip(recent.snapshot().kept, made, strict=True)
    )


def test_an_append_of_which_nothing_is_left() -> None:
    """All dropped by rule: there is nothing to show, and nothing breaks."""
    recent = Recent()
    recent.add("app", [ALL_DROPPED])
    assert messages(recent) == []


def test_a_watched_mapper_maps_the_same() -> None:
    """The way of the data does not change by being looked at."""
    found = entries("a", "b")
    plain = mapper_of(settings.App(app_id="app"))
    assert isinstance(plain, Mapper)
    seen = watched(Recent())
    assert seen.encode(found, AT) == plain.encode(found, AT)
    assert seen.settle() == plain.settle()


@given(st.lists(st.lists(st.text(max_size=5), max_size=30), max_size=20), st.integers(1, 50))
def test_no_entry_is_shown_twice(appends: list[list[str]], most: int) -> None:
    """Whoever asks again and again sees each entry once, or hears that some were left out."""
    recent = Recent(most_records=most)
    mapper = watched(recent)
    after, seen, left_out, written = recent.snapshot().find(Wanted())["next"], [], 0, 0
    for one in appends:
        journal(mapper, entries(*one, first=written))
        written += len(one)
        answer = recent.snapshot().find(Wanted(after=after))
        after = answer["next"]
        seen += [entry["number"] for entry in answer["entries"]]
        left_out += answer["left_out"]
    assert len(set(seen)) == len(seen)
    assert len(seen) + left_out == written
