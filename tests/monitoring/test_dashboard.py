"""The Grafana dashboard: every series, label and variable that it names exists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from support.promql import TARGET, labels, our_series
from support.scraped import scrape

from bridge.mapping.gap import gap_record
from bridge.model import Gap, GapKind
from bridge.telemetry.registry import Registry

_PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
_LOKI = {"type": "loki", "uid": "${loki}"}
_BUILTIN = {"__rate_interval", "__range", "__auto", "__all"}
_VARIABLE = re.compile(r"\$\{?(\w+)(?::\w+)?\}?")
_LABEL_VALUES = re.compile(r"label_values\((?:(?P<series>.+), )?(?P<label>\w+)\)")

# LogQL as far as the dashboard needs it; what does not fit is an error, not passed over.
_STAGE = r'(?: \|= `[^`]*`| \| \w+ ?(?:=~|!=|>=|=) ?(?:"[^"]*"|\d+))'
_LOGS = rf"\{{[^}}]*\}}{_STAGE}*"
_LOGQL = re.compile(
    rf"(?P<logs>{_LOGS})"
    rf"|(?:topk\(\d+, )?sum by \((?P<by>\w+)\) "
    rf"\(count_over_time\((?P<counted>{_LOGS}) \[\$__(?:auto|range)\]\)\)\)?"
)
_FILTER = re.compile(r'(?<=[|,{] )?(\w+) ?(=~|!=|>=|=) ?(?:"([^"]*)"|\d+)')

# Resource attributes that Loki indexes unless it is told otherwise ("OTLP configuration"); with
# all others, and the record's attributes, a line is only marked ("structured metadata").
_INDEXED = {"service.name", "service.namespace", "deployment.environment.name"}
# What Loki makes of a record's own fields.
_OF_LOKI = {"severity_text", "severity_number"}


@pytest.fixture(scope="module")
def dashboard(project: Path) -> dict[str, Any]:
    """The file."""
    text = (project / "helm/fal-log-bridge/files/dashboard.json").read_text("utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def mapped(project: Path) -> dict[str, set[str]]:
    """Every attribute that the mapping makes, as Loki names it, with the texts it was seen with."""
    seen: dict[str, set[str]] = {}
    for path in (project / "tests/mapping/golden").glob("*.json"):
        for result in json.loads(path.read_text("utf-8"))["results"]:
            attributes = result["resource"]["attributes"] | result["record"]["attributes"]
            for key, value in attributes.items():
                seen.setdefault(_in_loki(key), set()).add(str(value.get("stringValue")))
    gap = LogRecord.FromString(gap_record("app", Gap(GapKind.CROWDED, 0, 1, 2), 3))
    for attribute in gap.attributes:
        seen.setdefault(_in_loki(attribute.key), set()).add(attribute.value.string_value)
    return seen


def _in_loki(key: str) -> str:
    return re.sub(r"\W", "_", key)


def _panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def _queries(dashboard: dict[str, Any], source: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The expressions for a data source, with the panel's title."""
    for panel in _panels(dashboard):
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"]
            if target["datasource"] == source:
                yield panel["title"], target["expr"]


def test_prometheus_queries_name_what_there_is(dashboard: dict[str, Any]) -> None:
    """Series, their labels, and those that a legend shows; `process_*` are of the exporter."""
    registry = Registry(apps=(), destinations=())
    process = {name: TARGET for name in scrape(registry) if name.startswith("process_")}
    registry.close()
    series = our_series() | process
    count = 0
    for panel in _panels(dashboard):
        for target in panel["targets"]:
            if target["datasource"] == _PROMETHEUS:
                expr = target["expr"].replace("$__rate_interval", "5m").replace("$__range", "1h")
                left = labels(expr, series)
                shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                assert shown <= left, panel["title"]
                count += 1
    assert count > 25


def test_loki_queries_name_what_the_mapping_makes(
    dashboard: dict[str, Any], mapped: dict[str, set[str]]
) -> None:
    """Streams by labels that Loki indexes, the rest by attributes, with values that they have."""
    known = set(mapped) | _OF_LOKI
    count = 0
    for title, expr in _queries(dashboard, _LOKI):
        query = _LOGQL.fullmatch(expr)
        assert query, f"{title}: {expr}"
        logs = query["logs"] or query["counted"]
        streams, _, stages = logs.partition("}")
        assert {name for name, _, _ in _FILTER.findall(streams)} <= set(map(_in_loki, _INDEXED))
        for name, operator, value in _FILTER.findall(re.sub("`[^`]*`", "", stages)):
            assert name in known, f"{title}: {name}"
            assert operator != "=" or value in mapped[name], f"{title}: {name} = {value}"
        assert query["by"] is None or query["by"] in known, title
        count += 1
    assert count >= 5


def test_variables(dashboard: dict[str, Any], mapped: dict[str, set[str]]) -> None:
    """Every variable is used, and every one that is used is there; their values can be found."""
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}
    panels = json.dumps(dashboard["panels"])
    used = set(_VARIABLE.findall(panels)) - _BUILTIN
    chained = set(_VARIABLE.findall(json.dumps(dashboard["templating"])))
    assert used | chained - _BUILTIN == set(variables)
    for one in variables.values():
        if one["type"] == "query":
            found = _LABEL_VALUES.fullmatch(one["definition"])
            assert found
            if one["datasource"] == _PROMETHEUS:
                assert one["query"]["query"] == one["definition"]
                assert found["label"] in labels(found["series"], our_series())
            else:
                assert one["datasource"] == _LOKI
                assert one["query"]["label"] == found["label"]
                assert found["label"] in mapped


def test_it_works_wherever_it_is_imported(dashboard: dict[str, Any]) -> None:
    """By hand, by provisioning, by a sidecar: no id, no data source of one Grafana."""
    assert dashboard["id"] is None
    assert dashboard["uid"] == "fal-log-bridge"
    assert "__inputs" not in dashboard  # which only an import by hand fills in
    sources = {
        one["name"] for one in dashboard["templating"]["list"] if one["type"] == "datasource"
    }
    assert sources == {"datasource", "loki"}
    for panel in _panels(dashboard):
        assert panel["datasource"] in (_PROMETHEUS, _LOKI)
        assert panel["title"]
        assert panel["description"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)


def test_panels_lie_side_by_side(dashboard: dict[str, Any]) -> None:
    """None covers another, none reaches beyond the 24 columns."""
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)
