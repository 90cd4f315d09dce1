"""Entries that a rule drops or samples out: which, counted how, and always the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from support.shaping import OBSERVED, attributes, identified, mapper, printed, records, shaped, uid

from bridge.mapping.shaping import Drop, Mask, Rules, Sample
from bridge.model import ALL_DROPPED
from bridge.patterns import Pattern

WARNING = 13
INFO = 9


def dropped(found: Any, *, message: str = "", below: int | None = None, **options: Any) -> bool:
    """Whether a rule drops an entry."""
    given: Mapping[str, str] = options.pop("attributes", {})
    rule = Drop(
        message=Pattern(message) if message else None,
        attributes={name: Pattern(text) for name, text in given.items()},
        below=below,
    )
    return not shaped(Rules(drop=(rule,), **options), found)


def test_by_message() -> None:
    """A pattern is found anywhere in the message, whatever the entry is."""
    assert dropped(printed("GET /health 200"), message="/health")
    assert not dropped(printed("GET /run 200"), message="/health")
    assert dropped(identified("GET /health"), message="^GET")
    assert dropped(printed({"a": [1]}), message=r'^\{"a":\[1\]\}$')
    assert not dropped(printed(None), message="None|null")


def test_by_attributes() -> None:
    """Labels, fields of the entry, and JSON fields; every one named must match."""
    found = printed('{"msg": "m", "path": "/health", "n": 5}', fal_env="dev", size=10)
    assert dropped(found, attributes={"fal_env": "^dev$"})
    assert dropped(found, attributes={"size": "^10$"})
    assert dropped(found, attributes={"app": "an-app", "level": "STDERR"})
    assert not dropped(found, attributes={"fal_env": "^dev$", "app": "other"})
    assert not dropped(found, attributes={"json.path": "health"})
    assert dropped(found, attributes={"json.path": "health", "json.n": "5"}, parse_json=True)
    assert not dropped(found, attributes={"missing": "."})


def test_by_level() -> None:
    """Only what is known to be below it."""
    assert dropped(printed("m", level="DEBUG"), below=INFO)
    assert not dropped(printed("m", level="INFO"), below=INFO)
    assert not dropped(printed("m", level="odd"), below=INFO)
    assert dropped(printed("DEBUG: m"), below=INFO, infer_level=True)
    assert not dropped(printed("DEBUG: m"), below=INFO)


def test_every_condition_of_a_rule_and_any_rule() -> None:
    """Conditions narrow a rule, rules add to each other; the first that fits is counted."""
    rules = Rules(drop=(Drop(message=Pattern("a"), below=WARNING), Drop(message=Pattern("b"))))
    done = mapper(rules)
    texts = [("a", "INFO"), ("a", "ERROR"), ("b", "ERROR"), ("ab", "INFO"), ("c", "INFO")]
    found = [printed(text, n, level=level) for n, (text, level) in enumerate(texts)]
    encoded = done.encode(found, OBSERVED)
    assert [record.body.string_value for record in records(encoded)] == ["a", "c"]
    assert [batch.uids for batch in encoded] == [(uid(1), uid(4))]
    assert done.settle() == {"drop[0]": 2, "drop[1]": 1}


def test_everything_dropped() -> None:
    """It is said in place of requests, and everything is counted."""
    done = mapper(Rules(drop=(Drop(message=Pattern(".")),)))
    assert done.encode([printed("m", n) for n in range(5)], OBSERVED) == [ALL_DROPPED]
    assert done.settle() == {"drop[0]": 5}


def test_a_joined_traceback_is_dropped_whole() -> None:
    """Its rule sees the whole text and counts every line."""
    text = ["Traceback (most recent call last):", "  frame", "ValueError: expected"]
    done = mapper(
        Rules(join_tracebacks=True, drop=(Drop(message=Pattern("ValueError: expected$")),))
    )
    assert done.encode([printed(t, n) for n, t in enumerate(text)], OBSERVED) == [ALL_DROPPED]
    assert done.settle() == {"drop[0]": 3}


def test_rules_see_what_masks_hide() -> None:
    """Dropping comes before masking."""
    rules = Rules(drop=(Drop(message=Pattern("secret")),), masks=(Mask("mask[0]", "secret"),))
    assert shaped(rules, printed("a secret")) == []


def test_a_sample_is_a_share() -> None:
    """About the share that was asked for, said on each record that stands for others."""
    rules = Rules(sample=(Sample(0.25),))
    done = mapper(rules)
    encoded = done.encode([printed("m", n) for n in range(2_000)], OBSERVED)
    kept = records(encoded)
    assert 400 < len(kept) < 600
    assert {attributes(record)["fal.sample_rate"] for record in kept} == {0.25}
    assert done.settle() == {"sample[0]": 2_000 - len(kept)}
    assert sum(len(batch.uids or ()) for batch in encoded) == len(kept)


def test_a_sample_is_always_the_same() -> None:
    """An entry's fate does not depend on what it is read with; more is a superset of less."""
    found = [printed("m", n) for n in range(300)]

    def kept(rate: float) -> set[str]:
        rules = Rules(sample=(Sample(rate),))
        return {attributes(r)["log.record.uid"] for one in found for r in shaped(rules, one)}

    together = shaped(Rules(sample=(Sample(0.3),)), *found)
    assert kept(0.3) == {attributes(record)["log.record.uid"] for record in together}
    assert kept(0.1) < kept(0.3) < kept(1.0) == {one.uid.hex() for one in found}
    assert kept(0.0) == set()


def test_a_sample_by_level() -> None:
    """The first rule that fits counts; what none fits is kept, without a rate."""
    rules = Rules(sample=(Sample(0.0, below=INFO), Sample(0.5, below=WARNING)))
    found = [
        printed(level, n, level=level)
        for n, level in enumerate(["DEBUG", "INFO", "ERROR", "odd"] * 200)
    ]
    done = mapper(rules)
    kept = records(done.encode(found, OBSERVED))
    levels = [record.severity_text for record in kept]
    assert "DEBUG" not in levels
    assert 60 < levels.count("INFO") < 140
    assert levels.count("ERROR") == levels.count("odd") == 200
    for record in kept:
        assert ("fal.sample_rate" in attributes(record)) == (record.severity_text == "INFO")
    assert done.settle() == {"sample[0]": 200, "sample[1]": 200 - levels.count("INFO")}


def test_what_is_dropped_is_not_sampled() -> None:
    """Rules that drop come first."""
    done = mapper(Rules(drop=(Drop(message=Pattern("m")),), sample=(Sample(0.0),)))
    done.encode([printed("m")], OBSERVED)
    assert done.settle() == {"drop[0]": 1}


def test_a_failed_append_is_not_counted_twice() -> None:
    """What is encoded again takes the place of what was encoded before."""
    done = mapper(Rules(drop=(Drop(message=Pattern("m")),), parse_json=True))
    found = [printed("m", 0), printed(json.dumps({"a": 1}), 1)]
    for _ in range(3):
        done.encode(found, OBSERVED)
    assert done.counts == {}
    assert done.settle() == {"drop[0]": 1, "parse_json": 1}
    assert done.settle() == {}
    done.encode(found[:1], OBSERVED)
    before = done.counts
    done.settle()
    assert before == {"drop[0]": 1, "parse_json": 1}
    assert done.counts == {"drop[0]": 2, "parse_json": 1}


def test_counts_are_read_only() -> None:
    """A snapshot stays what it was, and nobody changes it."""
    done = mapper(Rules(strip_ansi=True))
    with pytest.raises(TypeError):
        done.counts["x"] = 1  # type: ignore[index]


def test_without_rules_nothing_is_counted() -> None:
    """A mapper without rules says so."""
    assert mapper().settle() == {}
    assert mapper().counts == {}
