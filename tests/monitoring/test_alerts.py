"""The alert rules: they name only what there is, lead somewhere, and do as they are meant to."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.promql import TARGET, Wrong, labels, our_series

_SERIES = our_series() | {"up": TARGET}
_LABEL = re.compile(r"\$labels\.(\w+)")
_SLUG = re.compile(r"[^\w\- ]")


@pytest.fixture(scope="module")
def rules(project: Path) -> list[dict[str, Any]]:
    """All rules, group after group."""
    text = (project / "helm/fal-log-bridge/files/alerts.yaml").read_text("utf-8")
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def test_series_and_labels_exist(rules: list[dict[str, Any]]) -> None:
    """Of each expression, and of the labels that its sentences speak of."""
    for rule in rules:
        left = labels(rule["expr"], _SERIES)
        spoken = set(_LABEL.findall(" ".join(rule["annotations"].values())))
        assert spoken <= left, rule["alert"]


@pytest.mark.parametrize(
    ("expr", "said"),
    [
        ("fal_log_bridge_no_such_total > 0", "no series"),
        ('fal_log_bridge_app_up{destination="d"}', "names ['destination']"),
        ("sum by (app) (fal_log_bridge_dead_letters)", "names ['app']"),
        ("fal_log_bridge_app_up unless fal_log_bridge_destination_up", "never match"),
        ("histogram_quantile(0.5, fal_log_bridge_delivery_latency_seconds_sum)", "['le']"),
    ],
)
def test_what_is_not_there_is_found(expr: str, said: str) -> None:
    """The check itself can fail."""
    with pytest.raises(Wrong, match=re.escape(said)):
        labels(expr, _SERIES)


def test_each_is_whole(rules: list[dict[str, Any]]) -> None:
    """A name of its own, a severity, two sentences and where to read on."""
    names = [rule["alert"] for rule in rules]
    assert len(set(names)) == len(names) > 15
    for rule in rules:
        assert rule["alert"].startswith("FalLogBridge")
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        assert rule["labels"]["severity"] in {"critical", "warning"}


def test_runbooks_exist(rules: list[dict[str, Any]], project: Path) -> None:
    """Each leads to a heading of its page."""
    for rule in rules:
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^#+ (.*)$", (project / page).read_text("utf-8"), re.MULTILINE)
        slugs = {_SLUG.sub("", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in slugs, rule["alert"]


def test_all_are_tried(rules: list[dict[str, Any]], project: Path) -> None:
    """Each alert is shown both firing and silent."""
    text = (project / "tests/monitoring/alerts.yaml").read_text("utf-8")
    cases = [case for test in yaml.safe_load(text)["tests"] for case in test["alert_rule_test"]]
    names = {rule["alert"] for rule in rules}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names


@pytest.mark.server("promtool")
def test_they_fire_when_they_should(project: Path) -> None:
    """As Prometheus itself takes them, over the time series of alerts.yaml."""
    for what, path in (
        ("check", "helm/fal-log-bridge/files/alerts.yaml"),
        ("test", "tests/monitoring/alerts.yaml"),
    ):
        command = ["promtool", what, "rules", str(project / path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
