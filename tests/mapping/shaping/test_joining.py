"""Tracebacks printed line by line become one record; everything else stays what it was."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.shaping import OBSERVED, attributes, bodies, lines, mapper, printed, records, uid

from bridge.mapping.shaping import Rules, joining
from bridge.model import Gap, GapKind, Identified

JOIN = Rules(join_tracebacks=True)
SIMPLE = (
    "Traceback (most recent call last):",
    '  File "app.py", line 7, in run',
    "    raise ValueError(x)",
    "    ~~~~~^^^^^",
    "ValueError: no such x",
)
CONTEXT = "During handling of the above exception, another exception occurred:"


def joined(*found: Identified) -> list[list[bytes]]:
    """The uids of each group."""
    return [[one.uid for one in group] for group in joining.groups(found)]


def test_a_traceback_is_one_record() -> None:
    """It has the first line's identity and time, all the text, and what was raised."""
    done = mapper(JOIN)
    encoded = done.encode(lines("before", *SIMPLE, "after"), OBSERVED)
    before, whole, after = records(encoded)
    assert whole.body.string_value == "\n".join(SIMPLE)
    found = attributes(whole)
    assert found["log.record.uid"] == uid(1).hex()
    assert found["fal.joined_entries"] == 5
    assert (found["exception.type"], found["exception.message"]) == ("ValueError", "no such x")
    assert found["exception.stacktrace"] == "\n".join(SIMPLE)
    assert "fal.label.message" not in found
    assert (before.body.string_value, after.body.string_value) == ("before", "after")
    assert [batch.uids for batch in encoded] == [tuple(uid(n) for n in range(7))]
    assert encoded[0].records == 3
    assert done.settle() == {"join_tracebacks": 4}


def test_a_chain_is_one_record() -> None:
    """With the sentences between its parts, and the empty lines around them."""
    text = (*SIMPLE, "", CONTEXT, "", *SIMPLE)
    assert bodies(JOIN, *lines(*text, "", "next")) == ["\n".join(text), "", "next"]
    tight = (*SIMPLE, CONTEXT, *SIMPLE)
    assert bodies(JOIN, *lines(*tight)) == ["\n".join(tight)]


def test_an_exception_group_is_one_record() -> None:
    """Python's own text of one, whatever it nests."""
    try:
        try:
            int("inner")
        except ValueError as error:
            raise ExceptionGroup("several", [ValueError("a"), TypeError("b\nc")]) from error
    except ExceptionGroup:
        text = traceback.format_exc().rstrip("\n").split("\n")
    assert bodies(JOIN, *lines(*text, "INFO: next")) == ["\n".join(text), "INFO: next"]


def test_python_prints_what_is_joined() -> None:
    """A real traceback of this Python, chained, with its markers."""
    try:
        try:
            int("x")
        except ValueError:
            float("missing")
    except ValueError:
        text = traceback.format_exc().rstrip("\n").split("\n")
    assert bodies(JOIN, *lines(*text)) == ["\n".join(text)]


def test_jobs_are_kept_apart() -> None:
    """Two jobs that print at the same time make two tracebacks."""
    one, two = lines(*SIMPLE, job="a"), lines(*SIMPLE, job="b", start=10)
    mixed = [entry for pair in zip(one, two, strict=True) for entry in pair]
    assert joined(*mixed) == [[e.uid for e in one], [e.uid for e in two]]


@pytest.mark.parametrize("label", ["fal_request_id", "source", "isolate_source", "fal_worker_id"])
def test_sources_are_kept_apart(label: str) -> None:
    """A line of another request or source ends nothing and joins nothing."""
    first, *rest = lines(*SIMPLE)
    others: dict[str, Any] = {label: "other"}
    other = printed("    another()", 99, **others)
    assert joined(first, other, *rest) == [[e.uid for e in (first, *rest)], [other.uid]]


@pytest.mark.parametrize(
    "line",
    ["INFO: served", "ERROR: x", "served 5 requests", "done", "[x] y", SIMPLE[0], CONTEXT],
)
def test_another_line_ends_it(line: str) -> None:
    """What Python would not print there stands alone."""
    found = lines(*SIMPLE[:3], line)
    assert joined(*found)[0] == [one.uid for one in found[:3]]
    assert joined(*found)[1:] == [[found[3].uid]]


@pytest.mark.parametrize("line", ["pkg.mod.Error_: x", "KeyboardInterrupt", "socket.timeout: t"])
def test_what_names_an_exception(line: str) -> None:
    """A dotted name with a message, or a name alone."""
    assert bodies(JOIN, *lines(*SIMPLE[:3], line, "x")) == ["\n".join((*SIMPLE[:3], line)), "x"]


def test_lines_that_came_apart() -> None:
    """Without its header, in another append, a line stays an entry of its own."""
    found = lines(*SIMPLE)
    assert joined(*found[:2]) == [[found[0].uid, found[1].uid]]
    assert joined(*found[2:]) == [[one.uid] for one in found[2:]]


def test_lines_too_far_apart() -> None:
    """A pause ends a traceback."""
    found = [printed(SIMPLE[0], 0), printed(SIMPLE[1], 1, after=5), printed(SIMPLE[2], 2, after=11)]
    assert joined(*found) == [[found[0].uid, found[1].uid], [found[2].uid]]


def test_lines_without_number() -> None:
    """A traceback without end is cut at the bound, and nothing is lost."""
    frames = ["  frame"] * (joining.MAX_LINES + 10)
    found = [printed(text, n) for n, text in enumerate([SIMPLE[0], *frames])]
    groups = joined(*found)
    assert [len(group) for group in groups] == [joining.MAX_LINES] + [1] * 11
    long = lines(SIMPLE[0], "  " + "x" * joining.MAX_LENGTH)
    assert len(joined(*long)) == 2


def test_entries_of_several_lines() -> None:
    """An entry that holds part of a traceback is taken whole, with what led to it."""
    found = lines(
        f"ERROR: task failed\n{SIMPLE[0]}\n{SIMPLE[1]}\n",
        f"{SIMPLE[2]}\nValueError: many\nlines",
        f"\n{CONTEXT}\n\n{SIMPLE[0]}",
        "  frame",
        "KeyError",
        "\nserved",
    )
    assert [len(group) for group in joined(*found)] == [5, 1]


@pytest.mark.parametrize("raw", [None, 5, [], {"a": 1}])
def test_messages_that_are_no_text(raw: object) -> None:
    """They end nothing and join nothing."""
    first, *rest = lines(*SIMPLE)
    assert [len(group) for group in joined(first, printed(raw, 99), *rest)] == [5, 1]


def test_gaps_speak_for_no_entry() -> None:
    """A gap's record stands in the request without a uid."""
    gap = Gap(GapKind.CROWDED, 1, 2, 3)
    [encoded] = mapper(JOIN).encode(lines("x"), OBSERVED, [gap])
    assert (encoded.records, encoded.uids) == (2, (uid(0),))


pieces = st.sampled_from([*SIMPLE, "", CONTEXT, "INFO: x", "text", f"{SIMPLE[0]}\n  f", "  | x"])


@given(st.lists(st.tuples(pieces, st.sampled_from("ab"), st.integers(0, 2)), max_size=30))
def test_nothing_is_lost_or_said_twice(printed_lines: list[tuple[str, str, int]]) -> None:
    """Every entry is in exactly one group, groups are of one job, in order."""
    found = [printed(t, n, job=j, after=n * 2.0 + s) for n, (t, j, s) in enumerate(printed_lines)]
    groups = list(joining.groups(found))
    assert sorted(one.uid for group in groups for one in group) == sorted(o.uid for o in found)
    for group in groups:
        assert len({one.entry.raw["labels"]["fal_job_id"] for one in group}) == 1
        ticks = [one.tick for one in group]
        assert ticks == sorted(ticks)
    firsts = [found.index(group[0]) for group in groups]
    assert firsts == sorted(firsts)
