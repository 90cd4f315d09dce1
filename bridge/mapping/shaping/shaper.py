"""One app's rules, applied to its entries in the order that the package states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from bridge.mapping.extra import NOTHING, Extra
from bridge.mapping.json_text import json_text
from bridge.mapping.reading import read
from bridge.mapping.record import body_of
from bridge.mapping.severity import UNSPECIFIED, iostream
from bridge.mapping.shaping import joining
from bridge.mapping.shaping.ansi import strip_ansi
from bridge.mapping.shaping.counts import Counts
from bridge.mapping.shaping.draft import Draft
from bridge.mapping.shaping.json_message import json_message
from bridge.mapping.shaping.levels import level_of_json, level_of_text
from bridge.mapping.shaping.masks import Masks
from bridge.mapping.shaping.names import Names
from bridge.mapping.shaping.rules import Drop, Rules
from bridge.model import Identified

JOINED: Final = "fal.joined_entries"
SAMPLE_RATE: Final = "fal.sample_rate"
_UID_SPACE: Final = 1 << 64

_Step: TypeAlias = Callable[[Draft], Draft]


class Shaped(Struct, frozen=True):
    """One record to be made, the uids of the entries it speaks for, what changed it."""

    found: Identified
    extra: Extra
    rules: frozenset[str]
    uids: tuple[bytes, ...] | None


class Shaper:
    """Shapes the entries of one app.

    Args:
        rules: what to do.
        stderr: the severity number of level ``STDERR``.

    Raises:
        PatternError: a mask cannot be used.
    """

    def __init__(self, rules: Rules, *, stderr: int) -> None:
        self.rules = rules
        self.counts = Counts()
        self.names = Names(rules.drop_attributes) if rules.drop_attributes else None
        self._stderr = stderr
        self._masks = Masks(rules.masks) if rules.masks else None
        self._before = list(_steps((rules.parse_json, _parsed), (rules.infer_level, _levelled)))
        after = ((rules.drop_attributes, self._without_names), (rules.masks, self._masked))
        self._after = list(_steps(*after))

    def shape(self, found: Sequence[Identified], counted: Counter[str]) -> Iterator[Shaped]:
        """Shape entries, in order; ``counted`` gets the entries of each rule that did something.

        Of what is dropped, only that is counted, every line of a joined traceback for itself.
        """
        stripped: set[bytes] = set()
        if self.rules.strip_ansi:
            found = [_stripped(one, stripped) for one in found]
        groups = joining.groups(found) if self.rules.join_tracebacks else ((one,) for one in found)
        for group in groups:
            draft = _first(group)
            for step in self._before:
                draft = step(draft)
            dropped_by = self._dropped_by(draft)
            if dropped_by:
                counted[dropped_by] += len(group)
                continue
            draft = self._weighted(draft)
            for step in self._after:
                draft = step(draft)
            counted.update(draft.rules)
            counted["strip_ansi"] += len(stripped.intersection(draft.uids))
            counted["join_tracebacks"] += len(group) - 1
            yield self._shaped(draft)

    def _dropped_by(self, draft: Draft) -> str | None:
        for number, rule in enumerate(self.rules.drop):
            if self._meets(draft, rule):
                return f"drop[{number}]"
        sampled = self._sampled_by(draft)
        if sampled is None or _share(draft.found.uid) < self.rules.sample[sampled].rate:
            return None
        return f"sample[{sampled}]"

    def _meets(self, draft: Draft, rule: Drop) -> bool:
        if not self._is_below(draft, rule.below):
            return False
        for name, pattern in rule.attributes.items():
            text = draft.attribute(name, self.rules.json_prefix)
            if text is None or not pattern.matches(text):
                return False
        return rule.message is None or rule.message.matches(body_of(draft.message))

    def _sampled_by(self, draft: Draft) -> int | None:
        """The first sampling rule for the entry."""
        for number, rule in enumerate(self.rules.sample):
            if self._is_below(draft, rule.below):
                return number
        return None

    def _is_below(self, draft: Draft, below: int | None) -> bool:
        if below is None:
            return True
        return UNSPECIFIED < draft.severity(self._stderr) < below

    def _weighted(self, draft: Draft) -> Draft:
        """Say what share of its kind an entry stands for."""
        number = self._sampled_by(draft) if self.rules.sample else None
        if number is None:
            return draft
        rate = self.rules.sample[number].rate
        return replace(draft, attributes={**draft.attributes, SAMPLE_RATE: rate})

    def _without_names(self, draft: Draft) -> Draft:
        if self.names is None:
            return draft
        raw = self.names.without(draft.raw)
        fields = {
            k: v
            for k, v in draft.fields.items()
            if k in draft.said or not self.names.left_out(self.rules.json_prefix + k)
        }
        if raw is draft.raw and len(fields) == len(draft.fields):
            return draft
        return replace(draft.with_raw(raw), fields=fields).by("drop_attributes")

    def _masked(self, draft: Draft) -> Draft:
        if self._masks is None:
            return draft
        rules: set[str] = set()
        raw = self._masks.entry(draft.raw, draft.found.entry.tick, rules)
        fields = self._masks.fields(draft.fields, rules) if draft.fields else draft.fields
        return replace(draft.with_raw(raw), fields=fields).by(*rules) if rules else draft

    def _shaped(self, draft: Draft) -> Shaped:
        uids = draft.uids if self.rules.selective else None
        return Shaped(draft.found, self._extra(draft), draft.rules, uids)

    def _extra(self, draft: Draft) -> Extra:
        original = self._original(draft)
        if not draft.attributes and not draft.fields and original is None:
            return NOTHING
        return Extra(
            attributes=draft.attributes,
            fields=draft.fields,
            prefix=self.rules.json_prefix,
            said=draft.said,
            original=original,
        )

    def _original(self, draft: Draft) -> str | None:
        """The JSON text of a malformed entry, masked as the whole that it is."""
        entry = draft.found.entry
        plain = entry.provenance is not None
        if self._masks is None or plain or not read(entry).faults:
            return None
        return self._masks.text(json_text(draft.raw))[0]


def _steps(*offered: tuple[object, _Step]) -> Iterator[_Step]:
    return (step for wanted, step in offered if wanted)


def _stripped(one: Identified, stripped: set[bytes]) -> Identified:
    draft = Draft(one, ())
    message = draft.message
    if not isinstance(message, str) or (text := strip_ansi(message)) == message:
        return one
    stripped.add(one.uid)
    return draft.saying(message=text).found


def _first(group: tuple[Identified, ...]) -> Draft:
    """What the entries of a group are together: the first one, with the text of all."""
    draft = Draft(group[0], tuple(one.uid for one in group))
    if len(group) == 1:
        return draft
    draft = draft.saying(message=joining.text_of(group))
    return replace(draft, attributes={JOINED: len(group)})


def _parsed(draft: Draft) -> Draft:
    """The fields of a JSON message as attributes; its text, if it has one, as the message."""
    message = draft.message
    found = json_message(message) if isinstance(message, str) else None
    if found is None:
        return draft
    if found.text_key is not None:
        draft = draft.saying(message=found.text)
    said = frozenset({found.text_key} if found.text_key else ())
    return replace(draft, fields=found.fields, said=said).by("parse_json")


def _levelled(draft: Draft) -> Draft:
    """The level that a printed line says of itself; its stream stays ``log.iostream``."""
    stream = iostream(draft.level)
    message = draft.message
    if stream is None or not isinstance(message, str):
        return draft
    fields = draft.fields
    if not fields and message.lstrip()[:1] == "{":
        found = json_message(message)
        fields = found.fields if found else {}
    in_json = level_of_json(fields)
    level = in_json[1] if in_json else level_of_text(message)
    if level is None:
        return draft
    told = {in_json[0]} if in_json and isinstance(draft.fields.get(in_json[0]), str) else set[str]()
    draft = draft.saying(level=level)
    attributes = {**draft.attributes, "log.iostream": stream}
    return replace(draft, attributes=attributes, said=draft.said | told).by("infer_level")


def _share(uid: bytes) -> float:
    """Where in [0, 1) an entry falls, the same at every read: the uid is a hash."""
    return int.from_bytes(uid[:8], "big") / _UID_SPACE
