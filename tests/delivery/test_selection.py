"""What a destination takes: the right records, the same bytes, and none too old for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import pytest
from delivery.fakes import REJECTED
from delivery.virtual import NOON
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from bridge.delivery.selection import EVERYTHING, Selection, TooOld
from bridge.delivery.split import Piece, letters, split
from bridge.mapping import Mapper
from bridge.mapping.resource import Scalar
from bridge.model import SECOND, Batch, Encoded, Entry, Gap, GapKind, Identified, Tick
from bridge.payload import Request, encoded, holding, located, records_of, singles, uid_of

HOUR: Final = 3_600 * SECOND
INFO: Final = 9
WARNING: Final = 13


@dataclass(frozen=True)
class Line:
    """A record to be: the service it is of, its severity, its age and that of its observation."""

    service: str = "a"
    severity: int = INFO
    age: Tick | None = 0
    observed: Tick | None = 0
    told: str | None = None
    event: str = ""


ages = st.none() | st.sampled_from([0, HOUR, HOUR + 1, -HOUR]) | st.integers(-2 * HOUR, 2 * HOUR)
lines = st.builds(
    Line,
    service=st.sampled_from("ab"),
    severity=st.sampled_from([0, 1, 5, 9, 10, 13, 17, 21]),
    age=ages,
    observed=ages,
    told=st.none() | st.just("2001-01-01T00:00:00"),
    event=st.sampled_from(["", "other", "fal_log_bridge.gap"]),
)
batches = st.lists(st.tuples(st.sampled_from(["app", "other"]), st.lists(lines, min_size=1)))
selections = st.builds(
    Selection,
    apps=st.sampled_from([["*"], ["app"], ["o*"], ["none"], ["none", "a?p"]]),
    min_severity=st.sampled_from([0, 5, 9, 13, 17]),
    resource=st.sampled_from([{}, {"service.name": "a"}, {"team": "x", "n": 3, "b": True}]),
    max_age=st.sampled_from([None, 1, HOUR]),
    too_old=st.sampled_from(TooOld),
)


def _nanoseconds(age: Tick | None) -> int:
    return 0 if age is None else (NOON - age) * 1_000


def batch(*of: Line, app: str = "app", seq: int = 7, first: int = 1) -> Batch:
    """A stored batch of these lines, their uids counted from ``first``."""
    message = ExportLogsServiceRequest()
    numbered = enumerate(of, first)
    for service, group in groupby(numbered, key=lambda one: one[1].service):
        target = message.resource_logs.add()
        target.resource.attributes.add(key="service.name", value=AnyValue(string_value=service))
        target.resource.attributes.add(key="host.id", value=AnyValue(string_value="h"))
        scope = target.scope_logs.add()
        scope.scope.name = "s"
        for number, line in group:
            record = scope.log_records.add(
                time_unix_nano=_nanoseconds(line.age),
                observed_time_unix_nano=_nanoseconds(line.observed),
                severity_number=line.severity,
                event_name=line.event,
            )
            record.attributes.add(key="log.record.uid").value.string_value = f"{number:032x}"
            if line.told is not None:
                record.attributes.add(key="fal.timestamp").value.string_value = line.told
    stored = encoded(message.SerializeToString(deterministic=True), len(of))
    return Batch(seq, app, stored.records, stored.size, stored.gzip, NOON)


def stored(of: Sequence[tuple[str, Sequence[Line]]]) -> list[Batch]:
    """Batches one after another, records numbered through."""
    made: list[Batch] = []
    for app, group in of:
        first = 1 + sum(one.records for one in made)
        made.append(batch(*group, app=app, seq=len(made) + 1, first=first))
    return made


def piece_of(parts: Sequence[Encoded | Batch]) -> Piece:
    """A request of some parts, as it is first sent."""
    return Piece(Request(tuple(parts)), parts[0].seq if isinstance(parts[0], Batch) else 7)


def records(parts: Iterable[Encoded | Batch]) -> list[LogRecord]:
    """Every record in order."""
    return [record for part in parts for _, _, record in located(part)]


def uids(parts: Iterable[Encoded | Batch]) -> list[str]:
    """Every uid in order."""
    return [uid_of(record) for record in records(parts)]


def resources(part: Encoded | Batch) -> list[dict[str, AnyValue]]:
    """What each of its resources says, in order."""
    message = ExportLogsServiceRequest.FromString(Request((part,)).raw)
    return [{a.key: a.value for a in one.resource.attributes} for one in message.resource_logs]


def attribute(record: LogRecord, key: str) -> list[str]:
    """Every value that a record has under a key."""
    return [a.value.string_value for a in record.attributes if a.key == key]


# Selecting


@settings(deadline=None)  # a busy machine is no failure
@given(batches)
def test_everything_is_taken_as_it_is(of: list[tuple[str, list[Line]]]) -> None:
    """Without a rule nothing is looked into: the stored objects themselves go on."""
    given_ = stored(of)
    taken = EVERYTHING.take(given_)
    assert taken.skipped == 0
    assert all(part is one for part, one in zip(taken.parts, given_, strict=True))


def test_without_a_rule_nothing_is_decoded() -> None:
    """Not even a batch that cannot be: it is for the destination to answer."""
    broken = Batch(1, "app", 1, 1, b"no gzip", NOON)
    assert EVERYTHING.take([broken]).parts[0] is broken
    assert Selection(apps=["other"]).take([broken]).skipped == 1
    assert not EVERYTHING.expired(Request((broken,)), NOON)
    assert not Selection(max_age=1, too_old=TooOld.SEND).expired(Request((broken,)), NOON)


@settings(deadline=None)  # a busy machine is no failure
@given(selections, batches)
def test_taking_invents_and_moves_nothing(
    selection: Selection, of: list[tuple[str, list[Line]]]
) -> None:
    """What is taken is in the stored order, in its own batch, untouched, and well counted."""
    given_ = stored(of)
    taken = selection.take(given_)
    known = {uid_of(record): record for record in records(given_)}
    assert [record for record in records(taken.parts) if record != known[uid_of(record)]] == []
    assert uids(taken.parts) == [uid for uid in known if uid in set(uids(taken.parts))]
    assert taken.skipped == len(known) - sum(part.records for part in taken.parts)
    homes = {one.seq: one for one in given_}
    for part in taken.parts:
        home = homes[part.seq]
        assert set(uids([part])) <= set(uids([home]))
        assert (part.app, part.journaled_at) == (home.app, home.journaled_at)
        assert part.records == len(uids([part])) > 0
        assert part.size == len(Request((part,)).raw)


@settings(deadline=None)  # a busy machine is no failure
@given(selections, batches)
def test_taking_twice_is_taking_once(
    selection: Selection, of: list[tuple[str, list[Line]]]
) -> None:
    """What was selected is selected, and equal calls give equal bytes."""
    given_ = stored(of)
    once = selection.take(given_)
    assert selection.take(given_) == once
    twice = selection.take(once.parts)
    assert twice.skipped == 0
    assert all(part is one for part, one in zip(twice.parts, once.parts, strict=True))


@settings(deadline=None)  # a busy machine is no failure
@given(batches, st.sampled_from([5, 9, 13, 17]))
def test_severities_that_pass_are_all_there(of: list[tuple[str, list[Line]]], least: int) -> None:
    """At least as severe, of no known severity, or a gap: and nothing else."""
    given_ = stored(of)
    flat = [line for _, group in of for line in group]
    passing = [
        f"{number:032x}"
        for number, line in enumerate(flat, 1)
        if line.severity in {0, *range(least, 25)} or line.event == "fal_log_bridge.gap"
    ]
    assert uids(Selection(min_severity=least).take(given_).parts) == passing


@pytest.mark.parametrize(
    ("apps", "taken"),
    [
        (["vision"], ["vision"]),
        (["vision", "vision-2"], ["vision", "vision-2"]),
        (["vision*"], ["vision", "vision-2"]),
        (["vision-?"], ["vision-2"]),
        (["[ab]"], ["[ab]", "b"]),
        (["Vision"], []),
        (["ision"], []),
        (["*"], ["vision", "vision-2", "[ab]", "b"]),
    ],
)
def test_apps(apps: list[str], taken: list[str]) -> None:
    """By the whole name, in its own case, or by a pattern; a name with brackets is one too."""
    given_ = [batch(Line(), app=name) for name in ("vision", "vision-2", "[ab]", "b")]
    assert [part.app for part in Selection(apps=apps).take(given_).parts] == taken


def test_a_gap_passes_any_level_and_belongs_to_its_app() -> None:
    """The mapper's own gap record: it is news for whoever gets that app's entries."""
    mapper = Mapper(app="app", service=None, fallback_service="s", resource={})
    gap = Gap(GapKind.CROWDED, NOON, NOON + 1, 3)
    entry = Identified(Entry({"message": "m", "level": "ERROR"}, NOON), NOON, bytes(16))
    [made] = mapper.encode([entry], NOON, [gap])
    whole = Batch(1, "app", made.records, made.size, made.gzip, NOON)
    [part] = Selection(min_severity=21).take([whole]).parts
    assert [record.event_name for record in records([part])] == ["fal_log_bridge.gap"]
    assert Selection(apps=["other"]).take([whole]).parts == ()


def test_a_batch_of_which_nothing_is_left_is_not_sent() -> None:
    """An empty request must never go out (OTLP, "Empty Telemetry Envelopes")."""
    given_ = [batch(Line(), Line(), seq=1), batch(Line(severity=WARNING), seq=2)]
    taken = Selection(min_severity=WARNING).take(given_)
    assert [part.seq for part in taken.parts] == [2]
    assert taken.parts[0] is given_[1]
    assert taken.skipped == 2


def test_no_empty_resource_stays_behind() -> None:
    """What loses all its records goes with them."""
    one = batch(Line("a"), Line("b", severity=WARNING), Line("a"))
    [part] = Selection(min_severity=WARNING).take([one]).parts
    assert [group["service.name"].string_value for group in resources(part)] == ["b"]


def test_resource_attributes_are_added_to_every_resource() -> None:
    """Under each resource, in place of those of the same name, in the type they are written."""
    extra: dict[str, Scalar] = {"service.name": "mine", "n": 3, "b": True, "f": 1.5}
    [part] = Selection(resource=extra).take([batch(Line("a"), Line("b"))]).parts
    written = {
        "service.name": AnyValue(string_value="mine"),
        "host.id": AnyValue(string_value="h"),
        "n": AnyValue(int_value=3),
        "b": AnyValue(bool_value=True),
        "f": AnyValue(double_value=1.5),
    }
    assert resources(part) == [written, written]


def test_an_attribute_that_is_there_already_changes_nothing() -> None:
    """Then the stored bytes are sent; the same value of another type is another value."""
    one = batch(Line("a"))
    assert Selection(resource={"service.name": "a"}).take([one]).parts[0] is one
    assert Selection(resource={"service.name": "b"}).take([one]).parts[0] is not one
    number = Selection(resource={"n": 1}).take([one]).parts[0]
    assert Selection(resource={"n": 1}).take([number]).parts[0] is number
    assert Selection(resource={"n": True}).take([number]).parts[0] is not number


def test_an_attribute_told_twice_is_told_alike() -> None:
    """Whichever of two a backend reads, it reads what was configured."""
    one = batch(Line())
    found = located(one)
    found[0][0].resource.MergeFrom(
        Resource(attributes=[KeyValue(key="host.id", value=AnyValue(string_value="old"))])
    )
    [part] = Selection(resource={"host.id": "new"}).take([holding(one, found)]).parts
    message = ExportLogsServiceRequest.FromString(Request((part,)).raw)
    hosts = [a for a in message.resource_logs[0].resource.attributes if a.key == "host.id"]
    assert [host.value.string_value for host in hosts] == ["new", "new"]


@settings(deadline=None)  # a busy machine is no failure
@given(selections, batches)
def test_what_is_taken_comes_apart(selection: Selection, of: list[tuple[str, list[Line]]]) -> None:
    """Halves and single records of a changed request are its records, in their own batches."""
    parts = selection.take(stored(of)).parts
    if not parts:
        return
    whole = piece_of(parts)
    assert [uid for uid, _ in singles(whole.request)] == uids(parts)
    halves = split(whole)
    assert [uid for half in halves for uid in uids(half.request.parts)] == uids(parts)
    homes = {uid: part.seq for part in parts for uid in uids([part])}
    buried = [
        letter
        for half in halves
        for letter in letters(half, REJECTED, destination="d", refused_at=0)
    ]
    assert {letter.uid: letter.seq for letter in buried} == homes


# Age


@pytest.mark.parametrize(
    ("line", "expired"),
    [
        (Line(age=0), False),
        (Line(age=HOUR - 1), False),
        (Line(age=HOUR), False),
        (Line(age=HOUR + 1), True),
        (Line(age=-HOUR * 24), False),
        (Line(age=0, observed=HOUR * 2), False),
        (Line(age=None, observed=HOUR), False),
        (Line(age=None, observed=HOUR + 1), True),
        (Line(age=HOUR + 1, observed=0), True),
        (Line(age=HOUR + 1, observed=None), True),
        (Line(age=None, observed=None), False),
    ],
)
@pytest.mark.parametrize("too_old", [TooOld.DEAD_LETTER, TooOld.RESTAMP])
def test_the_bounds_of_age(line: Line, *, expired: bool, too_old: TooOld) -> None:
    """``max_age`` itself is not too old; without a time the observed one counts; neither: never."""
    selection = Selection(max_age=HOUR, too_old=too_old)
    whole = piece_of([batch(line)])
    assert selection.expired(whole.request, NOON) is expired
    fresh = selection.fresh(whole, NOON, destination="d")
    assert bool(fresh.dead or fresh.restamped) is expired
    if not expired:
        assert fresh.piece is whole


def test_one_old_record_among_others() -> None:
    """It alone is a dead letter, with its age; the rest goes on in its own batch."""
    untouched = batch(Line(), Line(), seq=3)
    mixed = batch(
        Line(age=26 * HOUR + 60 * SECOND), Line(), Line(age=HOUR + 60 * SECOND), seq=4, first=3
    )
    fresh = Selection(max_age=HOUR).fresh(piece_of([untouched, mixed]), NOON, destination="backend")
    assert fresh.piece is not None
    first, second = fresh.piece.request.parts
    assert first is untouched
    assert isinstance(second, Batch)
    assert (second.seq, uids([second])) == (4, [f"{4:032x}"])
    assert [(dead.uid, dead.seq, dead.refused_at) for dead in fresh.dead] == [
        (f"{3:032x}", 4, NOON),
        (f"{5:032x}", 4, NOON),
    ]
    assert [dead.reason for dead in fresh.dead] == [
        "too old: 1d2h, and max_age is 1h",
        "too old: 1h1m, and max_age is 1h",
    ]
    assert {(dead.destination, dead.answer) for dead in fresh.dead} == {("backend", "")}
    kept = records(Encoded(1, 0, dead.gzip) for dead in fresh.dead)
    assert [record.time_unix_nano for record in kept] == [
        _nanoseconds(26 * HOUR + 60 * SECOND),
        _nanoseconds(HOUR + 60 * SECOND),
    ]


def test_spans_of_less_than_a_second() -> None:
    """A reason tells apart what a person could configure."""
    [dead] = (
        Selection(max_age=500_000)
        .fresh(piece_of([batch(Line(age=1_250_000))]), NOON, destination="d")
        .dead
    )
    assert dead.reason == "too old: 1s250ms, and max_age is 500ms"
    [dead] = Selection(max_age=1).fresh(piece_of([batch(Line(age=2))]), NOON, destination="d").dead
    assert dead.reason == "too old: 0ms, and max_age is 0ms"


def test_a_piece_that_is_all_too_old() -> None:
    """Nothing is left to send, and all of it is kept."""
    fresh = Selection(max_age=HOUR).fresh(
        piece_of([batch(Line(age=2 * HOUR)), batch(Line(age=3 * HOUR), first=2)]),
        NOON,
        destination="d",
    )
    assert fresh.piece is None
    assert [dead.uid for dead in fresh.dead] == [f"{1:032x}", f"{2:032x}"]


def test_a_piece_cut_from_a_batch_stays_of_it() -> None:
    """A half knows its batch, also once the batch before it is gone."""
    old, young = batch(Line(age=2 * HOUR), seq=3), batch(Line(), Line(), seq=9, first=2)
    fresh = Selection(max_age=HOUR).fresh(piece_of([old, young]), NOON, destination="d")
    assert fresh.piece is not None
    assert fresh.piece.seq == 9
    halves = split(fresh.piece)
    later = NOON + 2 * HOUR
    gone = [Selection(max_age=HOUR).fresh(half, later, destination="d") for half in halves]
    assert [(one.piece, [dead.seq for dead in one.dead]) for one in gone] == [(None, [9])] * 2


def test_a_request_keeps_its_patience() -> None:
    """A piece that was given more time for its answer has it still."""
    whole = piece_of([batch(Line(age=2 * HOUR), Line())])
    patient = replace(whole, request=replace(whole.request, patience=4.0))
    fresh = Selection(max_age=HOUR).fresh(patient, NOON, destination="d")
    assert fresh.piece is not None
    assert fresh.piece.request.patience == 4.0


def test_records_grow_too_old_while_they_wait() -> None:
    """What was young enough at the first try is not for ever."""
    selection = Selection(max_age=HOUR)
    whole = piece_of([batch(Line(age=HOUR // 2), Line(age=-HOUR))])
    assert selection.fresh(whole, NOON, destination="d").piece is whole
    assert selection.fresh(whole, NOON + HOUR // 2, destination="d").piece is whole
    later = selection.fresh(whole, NOON + HOUR // 2 + 1, destination="d")
    assert later.piece is not None
    assert uids(later.piece.request.parts) == [f"{2:032x}"]
    last = selection.fresh(later.piece, NOON + 2 * HOUR + 1, destination="d")
    assert (last.piece, [dead.uid for dead in last.dead]) == (None, [f"{2:032x}"])


def test_restamp() -> None:
    """The present as time, the own time as an attribute, everything else as it was."""
    given_ = batch(
        Line(age=2 * HOUR),
        Line(age=3 * HOUR, told="2001-01-01T00:00:00"),
        Line(age=0),
        Line(age=None, observed=2 * HOUR),
    )
    fresh = Selection(max_age=HOUR, too_old=TooOld.RESTAMP).fresh(
        piece_of([given_]), NOON, destination="d"
    )
    assert fresh.piece is not None
    assert (fresh.dead, fresh.restamped) == ((), 3)
    after = records(fresh.piece.request.parts)
    assert uids(fresh.piece.request.parts) == uids([given_])
    noon = NOON * 1_000
    assert [record.time_unix_nano for record in after] == [noon, noon + 1, noon, noon + 2]
    assert [attribute(record, "fal.timestamp") for record in after] == [
        ["2025-09-19T10:00:00.000Z"],
        ["2001-01-01T00:00:00"],
        [],
        [],
    ]
    observed = [record.observed_time_unix_nano for record in after]
    assert observed == [record.observed_time_unix_nano for record in records([given_])]


def test_restamped_records_of_joined_batches_keep_their_order() -> None:
    """A nanosecond apart from first to last, whichever batch they came in."""
    old, young = Line(age=2 * HOUR), Line(age=0)
    parts = [batch(old, old, seq=7), batch(young, seq=8, first=3), batch(old, old, seq=9, first=4)]
    selection = Selection(max_age=HOUR, too_old=TooOld.RESTAMP)
    fresh = selection.fresh(piece_of(parts), NOON, destination="d")
    assert fresh.piece is not None
    stamps = [record.time_unix_nano - NOON * 1_000 for record in records(fresh.piece.request.parts)]
    assert stamps == [0, 1, 0, 2, 3]


def test_a_restamped_record_is_sent_again_as_it_is() -> None:
    """Every try sends the same bytes, until even the new time is too old for the backend."""
    selection = Selection(max_age=HOUR, too_old=TooOld.RESTAMP)
    first = selection.fresh(piece_of([batch(Line(age=2 * HOUR))]), NOON, destination="d").piece
    assert first is not None
    assert selection.fresh(first, NOON + HOUR, destination="d").piece is first
    again = selection.fresh(first, NOON + HOUR + 1, destination="d").piece
    assert again is not None
    [record] = records(again.request.parts)
    assert record.time_unix_nano == (NOON + HOUR + 1) * 1_000
    assert attribute(record, "fal.timestamp") == ["2025-09-19T10:00:00.000Z"]


def test_send_all_the_same() -> None:
    """What is too old goes as it is, and is counted where it is asked for."""
    selection = Selection(max_age=HOUR, too_old=TooOld.SEND)
    whole = piece_of([batch(Line(age=2 * HOUR), Line(age=HOUR), Line(age=HOUR + 1))])
    assert selection.fresh(whole, NOON, destination="d").piece is whole
    assert selection.late(whole.request, NOON) == 2
    assert selection.late(whole.request, NOON + 1) == 3
    assert selection.late(piece_of([batch(Line())]).request, NOON) == 0
    assert Selection(max_age=HOUR).late(whole.request, NOON) == 0
    assert EVERYTHING.late(whole.request, NOON) == 0


@settings(deadline=None)  # a busy machine is no failure
@given(selections, batches, st.integers(-HOUR, 2 * HOUR))
def test_every_record_is_sent_or_dead(
    selection: Selection, of: list[tuple[str, list[Line]]], wait: Tick
) -> None:
    """None is lost, doubled or moved, and what is sent is not too old any more."""
    parts = selection.take(stored(of)).parts
    if not parts:
        return
    now = NOON + wait
    whole = piece_of(parts)
    fresh = selection.fresh(whole, now, destination="d")
    assert fresh == selection.fresh(piece_of(parts), now, destination="d")
    sent = uids(fresh.piece.request.parts) if fresh.piece else []
    dead = [letter.uid for letter in fresh.dead]
    assert sorted(sent + dead) == sorted(uids(parts))
    assert sent == [uid for uid in uids(parts) if uid in set(sent)]
    assert bool(dead or fresh.restamped) is selection.expired(whole.request, now)
    assert (fresh.piece is whole) is not selection.expired(whole.request, now)
    if fresh.piece:
        assert not selection.expired(fresh.piece.request, now)
        assert selection.fresh(fresh.piece, now, destination="d").piece is fresh.piece
    homes = {uid: part.seq for part in parts for uid in uids([part])}
    assert all(letter.seq == homes[letter.uid] for letter in fresh.dead)
    alone = [list(records_of(Request((Encoded(1, 0, one.gzip),)).raw)) for one in fresh.dead]
    assert [[uid_of(record) for _, _, record in one] for one in alone] == [[uid] for uid in dead]


def test_a_batch_for_another_destination_is_left_out() -> None:
    """One that is for it alone, or for all, is the same object."""
    everyone = batch(Line(), Line())
    mine, other = replace(everyone, audience="mine"), replace(everyone, audience="other")
    taken = Selection(destination="mine").take([everyone, mine, other])
    assert taken.parts == (everyone, mine)
    assert taken.parts[1] is mine
    assert taken.skipped == 2
    assert EVERYTHING.take([mine]).parts == ()
