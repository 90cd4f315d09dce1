"""What a PromQL expression asks for, read off its syntax tree: which series, and by which labels.

`labels` follows the labels through the expression as Prometheus does ("Operators", "Functions"),
so that a label that is no longer there is found, and so are two sides that can never match.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import promql_parser as promql

from bridge.telemetry.metrics import METRICS, Kind

Labels = frozenset[str]
Series = Mapping[str, Labels]

TARGET: Final = frozenset({"job", "instance"})
"""What Prometheus adds to all that it scrapes."""

_ENDS: Final[Mapping[Kind, Mapping[str, Labels]]] = {
    Kind.COUNTER: {"": frozenset()},
    Kind.GAUGE: {"": frozenset()},
    Kind.HISTOGRAM: {"_bucket": frozenset({"le"}), "_sum": frozenset(), "_count": frozenset()},
}
_LOST: Final[Mapping[str, Labels]] = {"histogram_quantile": frozenset({"le"})}
_SETS: Final = frozenset({"and", "or", "unless"})
_COMPARISONS: Final = frozenset({"==", "!=", ">", "<", ">=", "<="})


class Wrong(Exception):
    """An expression names something that is not there."""


def our_series() -> dict[str, Labels]:
    """The labels of every series of the contract, by its name, as it is in Prometheus."""
    return {
        metric.name + end: TARGET | set(metric.labels) | more
        for metric in METRICS
        for end, more in _ENDS[metric.kind].items()
    }


def labels(text: str, series: Series) -> Labels:
    """The labels of what an expression results in; of what it selects, only ``series`` exist.

    Raises:
        Wrong: it names a series or a label that is not there, or could never have a result.
        ValueError: it is no PromQL.
    """
    found = _labels(promql.parse(text), series)
    if found is None:
        raise Wrong(f"{text} is a number")
    return found


def _labels(expr: promql.Expr, series: Series) -> Labels | None:  # noqa: PLR0911 - one a kind
    """The labels of an expression's result; None for a scalar or a string."""
    match expr:
        case promql.VectorSelector():
            return _selected(expr, series)
        case promql.MatrixSelector(vector_selector=inner):
            return _selected(inner, series)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return _labels(expr.expr, series)
        case promql.NumberLiteral() | promql.StringLiteral():
            return None
        case promql.AggregateExpr():
            return _aggregated(expr, series)
        case promql.Call():
            return _called(expr, series)
        case promql.BinaryExpr():
            return _combined(expr, series)
        case _:
            raise Wrong(f"{type(expr).__name__} is not known here")


def _selected(selector: promql.VectorSelector, series: Series) -> Labels:
    name = selector.name or ""
    if name not in series:
        raise Wrong(f"there is no series {name}")
    _there(name, [matcher.name for matcher in selector.matchers.matchers], series[name])
    return series[name]


def _aggregated(expr: promql.AggregateExpr, series: Series) -> Labels:
    inner = _vector(expr.expr, series)
    if expr.modifier is None:
        return frozenset()
    named = frozenset(expr.modifier.labels)
    _there(expr.op, named, inner)
    return named if expr.modifier.type is promql.AggModifierType.By else inner - named


def _called(expr: promql.Call, series: Series) -> Labels | None:
    name = expr.func.name
    vectors = [found for arg in expr.args if (found := _labels(arg, series)) is not None]
    if name == "absent":
        return frozenset()  # but for what the selector says with =, which ours do not
    if name == "vector":
        return frozenset()
    (inner,) = vectors
    lost = _LOST.get(name, frozenset())
    _there(name, lost, inner)
    return inner - lost


def _combined(expr: promql.BinaryExpr, series: Series) -> Labels | None:
    left, right = _labels(expr.lhs, series), _labels(expr.rhs, series)
    if left is None or right is None:
        return left if right is None else right
    op, modifier = str(expr.op), expr.modifier
    matching = modifier.matching if modifier else None
    if modifier is None or matching is None:
        if left != right:
            raise Wrong(f"{expr.prettify()}: {sorted(left)} never match {sorted(right)}")
        return left
    if matching.type is not promql.LabelModifierType.Include:
        raise Wrong("ignoring() is not known here")
    on = frozenset(matching.labels)
    _there(f"{op} on", on, left)
    _there(f"{op} on", on, right)
    if op in _SETS or modifier.group_labels is not None:
        taken = frozenset(modifier.group_labels or ())
        _there("group_left", taken, right)
        return left | taken
    return on if op not in _COMPARISONS else left


def _vector(expr: promql.Expr, series: Series) -> Labels:
    found = _labels(expr, series)
    if found is None:
        raise Wrong(f"{expr.prettify()} is a number")
    return found


def _there(what: object, named: object, present: Labels) -> None:
    missing = sorted(set(named) - present)  # type: ignore[call-overload]  # any words
    if missing:
        raise Wrong(f"{what} names {missing}, of {sorted(present)}")
