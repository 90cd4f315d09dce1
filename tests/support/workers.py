"""Entries as a worker prints them, most of them plain, and what may make one another kind."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from bridge.model import Entry, Json
from bridge.source.decode import entry_of

TIME = "2025-09-19T12:16:10.599608"
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1\nValueError: boom'
LABELS: dict[str, str] = {
    "app_id": "r1",
    "fal_env": "prod",
    "fal_job_id": "j1",
    "fal_request_id": "q1",
    "fal_user_nickname": "acme",
    "source": "gateway",
}

_text = st.text(st.characters(exclude_categories=()), max_size=8)
_odd = st.sampled_from(
    [
        *["", "a\x00b", '"\\/\x7f\u2028', "\ud800", "\U0001f600", "\ufb01", "x" * 3_000],
        *[TRACEBACK, '{"traceback": "x"}', "trace", "4bf92f3577b34da6a3ce929d0e0e4736"],
        *["INFO", "info", "İnfo", "STDERR", TIME, f"{TIME}Z", f"{TIME}+00:00"],
        *[None, 1, True, 1.0, 1 << 63, 1 << 70, -0.0, float("nan"), float("inf"), 1e300],
        *[[], {}, ["a", {"b": 1, "a": 2}], {"\ud800": 1}, [float("nan")]],
    ]
)
_values = _text | _odd
_keys = _text | st.sampled_from(
    [
        *["app", "level", "message", "logged_at", "app_id", "fal_env", "fal_endpoint"],
        *["fal_request_id", "fal_user_nickname", "source", "environment", "\U0001f600", "\ufb01"],
        *["traceback", "my_traceback", "Traceback", "trace_id", "traceparent", "k" * 3_000],
    ]
)
_field_keys = st.sampled_from(["timestamp", "level", "message", "app", "revision", "status"])
_fields = st.fixed_dictionaries(
    {"timestamp": st.just(TIME), "message": _text | st.sampled_from(["a trace of it", TRACEBACK])},
    optional={"level": st.sampled_from(["INFO", "info", "StdOut", "İnfo"]), "app": _text},
)


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Json]:
    """A plain entry, then a few fields and labels of any kind instead of its own."""
    fields: dict[str, Any] = {"revision": "r1", **draw(_fields)}
    labels: dict[str, Json] = {**LABELS, **draw(st.dictionaries(_keys, _text, max_size=2))}
    repeated = draw(st.sets(st.sampled_from(["app", "level", "message"])))
    labels |= {key: fields[key] for key in repeated if key in fields}
    if draw(st.booleans()):
        labels["logged_at"] = f"{TIME}+00:00"
    if draw(st.booleans()):
        labels |= draw(st.dictionaries(_keys, _values, max_size=2))
        fields |= draw(st.dictionaries(_field_keys, _values, max_size=1))
    keys = draw(st.permutations(sorted(labels)))
    given = {key: labels[key] for key in keys}
    return fields | {"labels": draw(st.just(given) | st.sampled_from([given, given, None, []]))}


def both(raw: Json) -> tuple[Entry, Entry]:
    """An entry to be read word by word, and the same as decoding makes it."""
    decoded = entry_of(raw)
    return Entry(raw, decoded.tick), decoded
