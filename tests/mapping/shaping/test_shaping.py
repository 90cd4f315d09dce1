"""What holds for all rules together, whatever the entries."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.shaping import OBSERVED, TIME, identified, mapper, printed, records, shaped, uid

from bridge.mapping.shaping import PRESETS, Drop, Mask, Rules, Sample, preset_masks
from bridge.model import ALL_DROPPED, Json
from bridge.patterns import Pattern
from bridge.payload import uid_of

any_text = st.text(st.characters(exclude_categories=()), max_size=12)
texts = any_text | st.sampled_from(
    [
        "Traceback (most recent call last):",
        "  frame",
        "ValueError: x",
        "\x1b[31mred",
        '{"level": "info", "msg": "m", "trace_id": "0af7651916cd43dd8448eb211c80319c"}',
        '{"": 1, "log.record.uid": 2, "fal.sample_rate": 3, "\\ud800": 4}',
        "DEBUG: noise",
        "a@b.example",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)
keys = any_text | st.sampled_from(
    ["message", "level", "labels", "app", "fal_job_id", "logged_at", "timestamp", "source"]
)
labels = st.dictionaries(keys, values, max_size=4)
entries = values | st.builds(
    lambda more, known: more | known,
    st.dictionaries(keys, values, max_size=4),
    st.fixed_dictionaries(
        {"message": texts},
        optional={
            "timestamp": st.just(TIME),
            "level": st.sampled_from(["STDERR", "INFO", "stdout"]) | values,
            "labels": labels,
        },
    ),
)
rules = st.builds(
    Rules,
    strip_ansi=st.booleans(),
    join_tracebacks=st.booleans(),
    parse_json=st.booleans(),
    json_prefix=st.sampled_from(["json.", "", "fal."]),
    infer_level=st.booleans(),
    drop=st.sampled_from(
        [(), (Drop(below=9),), (Drop(message=Pattern("e"), attributes={"app": Pattern(".")}),)]
    ),
    sample=st.sampled_from([(), (Sample(0.5),), (Sample(0.3, below=13),)]),
    drop_attributes=st.sampled_from([(), ("*",), ("fal.*", "json.a?")]),
    masks=st.sampled_from([(), (Mask("mask[0]", "[a-z]+"),), preset_masks(list(PRESETS))]),
)


@given(rules, st.lists(entries, max_size=6))
@settings(max_examples=400)
def test_every_entry_is_in_one_record_or_counted(rules: Rules, raws: list[Json]) -> None:
    """Nothing raises; each uid is in one batch at most, and the others were dropped by rule."""
    found = [identified(raw, number) for number, raw in enumerate(raws)]
    done = mapper(rules, max_records=2)
    encoded = done.encode(found, OBSERVED)
    counts = done.settle()
    made = records(encoded)
    assert sum(batch.records for batch in encoded) == len(made)
    dropped = sum(n for rule, n in counts.items() if rule.startswith(("drop[", "sample[")))
    joined = counts.get("join_tracebacks", 0)
    assert len(made) == len(found) - dropped - joined
    own = {record.hex() for record in (one.uid for one in found)}
    assert {uid_of(record) for record in made} <= own
    for record in made:
        keys = [pair.key for pair in record.attributes]
        assert len(keys) == len(set(keys))
    if not rules.selective:
        assert all(batch.uids is None for batch in encoded)
        assert len(made) == len(found)
        return
    named = [one for batch in encoded for one in batch.uids or ()]
    assert encoded == [ALL_DROPPED] or all(batch.uids for batch in encoded)
    assert len(named) == len(set(named)) == len(found) - dropped


@given(rules, st.lists(entries, max_size=4))
@settings(max_examples=50)
def test_equal_calls_give_equal_bytes(rules: Rules, raws: list[Json]) -> None:
    """Shaping is deterministic, and changes none of what it is given."""
    before = repr(raws)
    found = [identified(raw, number) for number, raw in enumerate(raws)]
    done = mapper(rules)
    assert done.encode(found, OBSERVED) == done.encode(found, OBSERVED)
    assert done.encode(found, OBSERVED) == mapper(rules).encode(found, OBSERVED)
    assert repr(raws) == before


@given(st.lists(entries, max_size=4))
@settings(max_examples=100)
def test_rules_that_do_nothing_change_nothing(raws: list[Json]) -> None:
    """With no rule, and with rules that find nothing, bytes are those of a mapper without."""
    found = [identified(raw, number) for number, raw in enumerate(raws)]
    idle = Rules(masks=(Mask("mask[0]", "\N{HOT BEVERAGE}{7}"),), drop_attributes=("no such",))
    plain = mapper().encode(found, OBSERVED)
    assert mapper(Rules()).encode(found, OBSERVED) == plain
    assert mapper(idle).encode(found, OBSERVED) == plain


def test_the_order_of_the_steps() -> None:
    """Escapes, joining, parsing, levels, dropping, leaving out, masking."""
    secret = "s3cret-value"
    rules = Rules(
        strip_ansi=True,
        join_tracebacks=True,
        parse_json=True,
        infer_level=True,
        drop=(Drop(message=Pattern("^drop me$"), below=9),),
        drop_attributes=("json.gone",),
        masks=(Mask("mask[0]", secret),),
    )
    found = [
        printed('\x1b[2m{"level": "debug", "msg": "drop me"}\x1b[0m', 0),
        printed(f'{{"level": "debug", "msg": "keep {secret}", "gone": 1}}', 1),
        printed("\x1b[31mTraceback (most recent call last):\x1b[0m", 2, after=1),
        printed(f"\x1b[31mValueError: {secret}\x1b[0m", 3, after=1),
    ]
    done = mapper(rules)
    encoded = done.encode(found, OBSERVED)
    kept, raised = records(encoded)
    assert (kept.body.string_value, kept.severity_text) == ("keep ***", "DEBUG")
    assert raised.body.string_value == "Traceback (most recent call last):\nValueError: ***"
    assert [batch.uids for batch in encoded] == [(uid(1), uid(2), uid(3))]
    assert done.settle() == {
        "drop[0]": 1,
        "strip_ansi": 2,
        "join_tracebacks": 1,
        "parse_json": 1,
        "infer_level": 1,
        "drop_attributes": 1,
        "mask[0]": 2,
    }


def test_what_was_original_of_a_malformed_entry_is_shaped_too() -> None:
    """Its JSON text shows neither what is masked nor what is left out."""
    raw: Any = {"message": "the secret", "labels": {"a": 1, "b": "secret"}, "x": ['"secret"']}
    rules = Rules(masks=(Mask("mask[0]", "secret"),), drop_attributes=("a",))
    [record] = shaped(rules, identified(raw))
    kept = {pair.key: pair.value.string_value for pair in record.attributes}
    assert kept["log.record.original"] == (
        '{"message":"the ***","labels":{"b":"***"},"x":["\\"***\\""]}'
    )
