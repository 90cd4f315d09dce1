"""Mapping: an entry of the Logs API becomes an OpenTelemetry log record. Pure and deterministic.

The rules, for every field and label (``docs/mapping.md`` shows them as a table):

1. Every entry becomes exactly one record and keeps its message; whatever the entry is, nothing
   raises. What cannot be said in protobuf is said in text.
2. Every field and every label arrives somewhere: under its convention's name, or as
   ``fal.label.<key>`` or ``fal.entry.<key>``. Left out is only what repeats another value.
3. An entry that breaks the API's contract is marked ``fal.malformed`` and carries its JSON text.
4. Equal input gives equal bytes.
"""

from __future__ import annotations

from bridge.mapping.mapper import Mapper

__all__ = ["Mapper"]
