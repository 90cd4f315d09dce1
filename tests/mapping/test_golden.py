"""What each kind of entry becomes, shown in files: ``golden/*.json``.

A file says what it is about, which options the mapper has, the entries, and for each its resource
and record as protobuf JSON. ``pytest tests/mapping --update-golden`` writes the results anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from support.workers import both

from bridge.mapping import Mapper
from bridge.model import Identified
from bridge.payload import Request, records_of

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))
OBSERVED = 1_758_284_171_000_000
UID = bytes(range(16))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_entry_becomes_the_record_in_its_golden_file(path: Path, *, update_golden: bool) -> None:
    """Every entry of the file maps to exactly the resource and record written there."""
    case = json.loads(path.read_text("utf-8"))
    mapper = Mapper(
        **{"app": "app", "service": None, "fallback_service": "app", "resource": {}}
        | case["mapper"]
    )
    results = [_result(mapper, entry) for entry in case["entries"]]
    if update_golden:
        path.write_text(json.dumps(case | {"results": results}, indent=2) + "\n", "utf-8")
    assert results == json.loads(path.read_text("utf-8"))["results"]


def test_golden_files_are_there() -> None:
    """The cases above do not vanish unnoticed."""
    assert len(GOLDEN) >= 18
    assert {"document", "traceback_in_message"} <= {path.stem for path in GOLDEN}


def _result(mapper: Mapper, raw: Any) -> dict[str, Any]:
    ways = [mapper.encode([Identified(entry, 0, UID)], OBSERVED) for entry in both(raw)]
    [encoded] = ways[0]
    assert ways[1] == ways[0]
    [(resource_logs, _, record)] = records_of(Request((encoded,)).raw)
    return {
        "resource": _attributes(MessageToDict(resource_logs.resource)),
        "record": _attributes(MessageToDict(record)),
    }


def _attributes(message: dict[str, Any]) -> dict[str, Any]:
    """Show attributes as an object: shorter to read, and a repeated key would fail here."""
    pairs = message["attributes"]
    shown = {pair["key"]: pair["value"] for pair in pairs}
    assert len(shown) == len(pairs)
    return message | {"attributes": shown}
