"""``check`` as a process: what a newcomer sees before the first run."""

from __future__ import annotations

import json
from contextlib import ExitStack

from support.acceptance_bridge import Command
from support.acceptance_fal import FalAccount, line, micros
from support.acceptance_otlp import OtlpBackend, Refusal


def test_a_test_record_arrives(command: Command, opened: ExitStack) -> None:
    """With --send each destination that can be reached gets one; a refusal is told with its mend.

    Without it none does. Nothing is left in the folder.
    """
    fal = opened.enter_context(FalAccount([line(micros(), "an entry")]))
    # Refuses a request without a record, as some do: one of each check.
    picky = OtlpBackend(plan=lambda number: Refusal(400) if number < 2 else None)
    taking = opened.enter_context(picky)
    refusing = opened.enter_context(OtlpBackend(plan=lambda _: Refusal(403)))
    config = command.config(fal.url, {"taking": taking.url, "refusing": refusing.url})
    before = set(command.folder.iterdir())
    plain = command.run("check", "--config", config)
    assert "test record" not in plain.out
    assert taking.kept == 0
    done = command.run("check", "--send", "--json", "--config", config)
    assert (done.code, done.err) == (1, "")
    rows = json.loads(done.out)["rows"]
    (row,) = (row for row in rows if row["check"] == "test record")
    (record,) = taking.arrivals
    assert (row["target"], row["mark"]) == ("destination taking", "ok")
    assert row["finding"] == f"taken, log.record.uid {record.uid}"
    assert "no app wrote it" in record.body
    (refused,) = (row for row in rows if row["mark"] == "failed")
    assert refused["target"] == "destination refusing"
    assert "403" in refused["finding"]
    assert set(command.folder.iterdir()) == before
