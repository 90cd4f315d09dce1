"""The tally: exact as multisets, whatever the order."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from bridge.model import SECOND
from bridge.simulator.account import Account
from bridge.simulator.manual_clock import NOON
from bridge.simulator.otlp_backend import Received
from bridge.simulator.store import Written
from bridge.simulator.tally import Identity, Standing, Tally, identity_of

LATER = NOON + 3600 * SECOND


def wrote(message: str, *, late: int = 0) -> Written:
    """An entry at noon."""
    return Written({"app": "alpha", "message": message}, NOON, NOON + late)


def received(body: str, uid: str, *, service: str = "alpha") -> Received:
    """A record of noon."""
    return Received(uid, NOON * 1_000, body, service, LogRecord(), Resource())


def test_everything_arrives() -> None:
    """The line that the demo shows."""
    tally = Tally()
    tally.write(wrote("a"))
    assert tally.standing(NOON) == Standing(1, 0, 0, 1, 0, 0)
    assert not tally.standing(NOON).complete
    tally.deliver(received("a", "1"))
    standing = tally.standing(NOON)
    assert standing.complete
    assert str(standing) == "written 1 · delivered 1 · missing 0 · repeated 0"
    assert not tally.outstanding()


def test_an_entry_not_yet_shown_is_not_missing() -> None:
    """It counts from the moment the API shows it."""
    tally = Tally()
    tally.write(wrote("a", late=5))
    assert tally.standing(NOON + 4) == Standing(0, 1, 0, 0, 0, 0)
    assert not tally.standing(NOON + 4).complete
    assert tally.standing(NOON + 5) == Standing(1, 0, 0, 1, 0, 0)


def test_a_known_uid_is_a_repeat() -> None:
    """A re-send is seen, and hides nothing."""
    tally = Tally()
    tally.write(wrote("a"))
    for _ in range(3):
        tally.deliver(received("a", "1"))
    assert tally.standing(NOON) == Standing(1, 0, 1, 0, 2, 0)
    assert tally.standing(NOON).complete


def test_genuine_repeats_need_uids_of_their_own() -> None:
    """Twins under one uid leave one missing."""
    tally = Tally()
    tally.write(wrote("a"))
    tally.write(wrote("a"))
    tally.deliver(received("a", "1"))
    tally.deliver(received("a", "1"))
    assert tally.standing(NOON).missing == 1
    tally.deliver(received("a", "2"))
    assert tally.standing(NOON) == Standing(2, 0, 2, 0, 1, 0)


def test_a_record_that_nobody_wrote_is_unexpected() -> None:
    """A changed body, another service, or a re-read under a new uid."""
    tally = Tally()
    tally.write(wrote("a"))
    strangers = (received("A", "1"), received("a", "2", service="beta"))
    for record in (*strangers, received("a", "3"), received("a", "4")):
        tally.deliver(record)
    standing = tally.standing(NOON)
    assert standing == Standing(1, 0, 1, 0, 0, 3)
    assert not standing.complete
    assert str(standing).endswith("unexpected 3")


def test_records_without_a_uid_are_never_repeats() -> None:
    """They still match by what they hold."""
    tally = Tally()
    tally.write(wrote("a"))
    tally.write(wrote("a"))
    tally.deliver(received("a", ""))
    tally.deliver(received("a", ""))
    assert tally.standing(NOON) == Standing(2, 0, 2, 0, 0, 0)


def test_memory_of_uids_is_bounded() -> None:
    """The oldest is forgotten first; a repeat of it then shows as unexpected, never as nothing."""
    tally = Tally(remember=2)
    for uid in ("1", "2", "1", "3"):
        tally.deliver(received("x", uid))
    tally.deliver(received("x", "1"))
    tally.deliver(received("x", "2"))
    assert (tally.standing(NOON).repeated, tally.standing(NOON).unexpected) == (2, 4)


def test_an_accounts_entries_have_identities() -> None:
    """Time, message and app, with genuine repeats counted."""
    entries = list(Account(7, NOON, 100).entries_between(NOON, NOON + 20 * SECOND))
    entry = entries[0]
    assert identity_of(entry) == Identity(entry.tick * 1_000, entry.raw["message"], entry.app or "")


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(st.sampled_from("abc"), max_size=12),
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9)), max_size=20),
)
def test_counts_are_those_of_multisets(messages: list[str], records: list[tuple[str, int]]) -> None:
    """Delivered is the multiset intersection of what was written and what came first by uid."""
    tally = Tally()
    for message in messages:
        tally.write(wrote(message))
    first: dict[int, str] = {}
    for body, uid in records:
        tally.deliver(received(body, str(uid)))
        first.setdefault(uid, body)
    standing = tally.standing(LATER)
    common = (Counter(messages) & Counter(first.values())).total()
    assert standing.delivered == common
    assert standing.missing == len(messages) - common == tally.outstanding().total()
    assert standing.repeated == len(records) - len(first)
    assert standing.unexpected == len(first) - common
