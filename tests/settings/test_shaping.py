"""How an app's shape is written, and what is refused at the start, with its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.settings import MINIMAL, Loaded

from bridge.app.parts import mapper_of, rules_of
from bridge.mapping.shaping import PRESETS
from bridge.settings import Shape


def shape_of(loaded: Loaded, keys: str) -> Shape:
    """The shape that some keys make."""
    return loaded(MINIMAL.replace("app_id: an-app", f"app_id: an-app, shape: {keys}")).apps[0].shape


def test_nothing_by_default(loaded: Loaded) -> None:
    """An app without a shape, or with an empty one, has no rules at all."""
    assert rules_of(loaded().apps[0].shape) is None
    for keys in ("{}", "null", "{json_prefix: x.}", "{drop: [], mask: [], strip_ansi: false}"):
        assert rules_of(shape_of(loaded, keys)) is None


@pytest.mark.parametrize(
    "keys",
    [
        "{strip_ansi: true}",
        "{join_tracebacks: true}",
        "{parse_json: true}",
        "{infer_level: true}",
        "{drop: [{message: x}]}",
        "{sample: [{rate: 1}]}",
        "{drop_attributes: [x]}",
        "{mask: [{pattern: x}]}",
        "{mask_presets: [jwt]}",
    ],
)
def test_each_key_makes_rules(loaded: Loaded, keys: str) -> None:
    """No option is without effect."""
    assert rules_of(shape_of(loaded, keys)) is not None


def test_everything(loaded: Loaded) -> None:
    """The keys become the mapper's rules, levels as severities, masks in order."""
    text = """
        {json_prefix: "", drop: [{message: "^a", attributes: {x: b}, below: info}],
         sample: [{rate: 0.5, below: WARNING}, {rate: 1}], drop_attributes: ["a*"],
         mask: [{pattern: "(a)b", replacement: '\\1'}], mask_presets: [jwt, email]}
    """
    shape = shape_of(loaded, text)
    rules = rules_of(shape)
    assert rules is not None
    assert rules.json_prefix == ""
    assert rules.drop[0].below == 9
    assert rules.drop[0].message is not None
    assert list(rules.drop[0].attributes) == ["x"]
    assert [(rule.rate, rule.below) for rule in rules.sample] == [(0.5, 13), (1.0, None)]
    assert [(mask.rule, mask.replacement) for mask in rules.masks] == [
        ("mask[0]", r"\1"),
        *[("mask_presets.jwt", by) for _, by in PRESETS["jwt"]],
        *[("mask_presets.email", by) for _, by in PRESETS["email"]],
    ]


def test_all_presets_can_be_used(loaded: Loaded) -> None:
    """The mapper of an app with every preset is made."""
    names = ", ".join(PRESETS)
    config = loaded(
        MINIMAL.replace("app_id: an-app", f"app_id: an-app, shape: {{mask_presets: [{names}]}}")
    )
    assert mapper_of(config.apps[0]).counts == {}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("{mask: [{pattern: x}, {pattern: '('}]}", "shape.mask[1].pattern (line 2): is not a"),
        ("{mask: [{pattern: '(?=x)'}]}", "invalid perl operator: (?="),
        ("{mask: [{pattern: ''}]}", "shape.mask[0].pattern (line 2): must not be empty"),
        ("{mask: [{pattern: 'a*'}]}", "must not match the empty text"),
        ("{mask: [{}]}", "shape.mask[0].pattern (line 2): is required"),
        (r"{mask: [{pattern: x, replacement: '\1'}]}", "mask[0].replacement (line 2): names the"),
        ("{mask: x}", "shape.mask (line 2): must be a list"),
        ("{mask_presets: [bearers]}", "mask_presets[0] (line 2): must be 'bearer', 'api_key'"),
        ("{drop: [{message: '['}]}", "shape.drop[0].message (line 2): is not a pattern"),
        ("{drop: [{attributes: {a: '['}}]}", "drop[0].attributes.a (line 2): is not a pattern"),
        ("{drop: [{}]}", "shape.drop[0] (line 2): needs message, attributes or below"),
        ("{drop: [{below: loud}]}", "must be 'DEBUG', 'INFO', 'WARNING' or 'ERROR', not 'LOUD'"),
        ("{sample: [{rate: 2}]}", "shape.sample[0].rate (line 2): must be less than or equal to 1"),
        ("{sample: [{rate: true}]}", "must be a number"),
        ("{sample: [{below: INFO}]}", "shape.sample[0].rate (line 2): is required"),
        ("{drop_attributes: ['']}", "shape.drop_attributes[0] (line 2): must not be empty"),
        ("{json_prefix: 'a b'}", "shape.json_prefix (line 2): must be printable, without spaces"),
        ("{masks: []}", "unknown key; did you mean 'mask'?"),
    ],
)  # fmt: skip
def test_refused(with_app: Callable[..., str], keys: str, words: str) -> None:
    """What cannot be used is one problem with its place and reason."""
    message = with_app(f"app_id: an-app, shape: {keys}")
    assert words in message
    assert "problems" not in message


@pytest.mark.parametrize(
    "keys",
    [
        "{mask: [{pattern: '(hunter2-itself'}]}",
        "{mask: [{pattern: '${env:SECRET}'}]}",
        r"{mask: [{pattern: x, replacement: 'hunter2-itself\1'}]}",
        "{drop: [{message: '(hunter2-itself'}]}",
        "{drop: [{attributes: {a: '(hunter2-itself'}}]}",
    ],
)
def test_a_secret_in_a_pattern_is_not_shown(refused: Callable[..., str], keys: str) -> None:
    """Somebody may name the very thing that is to be hidden."""
    text = MINIMAL.replace("app_id: an-app", f"app_id: an-app, shape: {keys}")
    assert "hunter2" not in refused(text, {"SECRET": "(hunter2-itself"})
