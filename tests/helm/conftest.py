"""The chart, rendered by Helm's own engine."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

_CHART = Path(__file__).parents[2] / "helm/fal-log-bridge"


@pytest.fixture(scope="session")
def helm() -> Any:
    """Helm as a module; `pytest.mark.server` sees to it that it is there."""
    return importlib.import_module("helm_python")


@pytest.fixture(scope="session")
def chart(helm: Any) -> Iterator[Any]:
    """The loaded chart."""
    with helm.Chart.load(_CHART) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def chart_folder() -> Path:
    """The chart's folder."""
    return _CHART


@pytest.fixture
def values() -> dict[str, Any]:
    """The values of an ordinary release, to change at will."""
    return dict(yaml.safe_load((_CHART / "ci/collector-values.yaml").read_text("utf-8")))


@pytest.fixture
def render(chart: Any) -> Callable[[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Render a release to its manifests by kind; ``NOTES`` holds the text for people."""

    def manifests(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
        rendered = chart.render(values, name="prod", namespace="logging")
        notes = next(text for name, text in rendered.items() if name.endswith("NOTES.txt"))
        texts = [text for name, text in rendered.items() if name.endswith(".yaml")]
        found = [document for text in texts for document in yaml.safe_load_all(text)]
        by_kind = {document["kind"]: document for document in found}
        assert len(by_kind) == len(found)
        return {**by_kind, "NOTES": {"text": notes}}

    return manifests
