"""Shaping: what an app's own rules do to its entries before they reach the journal. Pure.

The fingerprint was taken before, so that no rule changes who an entry is. The steps, always in this
order:

1. ``strip_ansi``: terminal escapes leave the message, so that every later pattern sees its text.
2. ``join_tracebacks``: the printed lines of one traceback become one record, the first line's.
3. ``parse_json``: the fields of a message that is a JSON object become attributes.
4. ``infer_level``: a printed line takes the level that it names.
5. ``drop``, then ``sample``: entries that are to leave no record. They see all of the above, and
   they see what masks would hide.
6. ``drop_attributes``: labels, fields and attributes left out by name.
7. ``masks``, last: whatever the steps before made of an entry, its text is looked through.

What is dropped by rule is named by no batch, and counted; what is changed is counted as well.
"""

from __future__ import annotations

from bridge.mapping.shaping.masks import preset_masks
from bridge.mapping.shaping.presets import PRESETS
from bridge.mapping.shaping.rules import MASK, Drop, Mask, Rules, Sample
from bridge.mapping.shaping.shaper import Shaper

__all__ = [
    "MASK",
    "PRESETS",
    "Drop",
    "Mask",
    "Rules",
    "Sample",
    "Shaper",
    "preset_masks",
]
