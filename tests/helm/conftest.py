"""The chart, rendered by Helm's own engine."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from support.chart import CHART, example

Manifests = list[dict[str, Any]]


@pytest.fixture(scope="session")
def helm() -> Any:
    """Helm as a module; `pytest.mark.server` sees to it that it is there."""
    return importlib.import_module("helm_python")


@pytest.fixture(scope="session")
def chart(helm: Any) -> Iterator[Any]:
    """The loaded chart."""
    with helm.Chart.load(CHART) as loaded:
        yield loaded


@pytest.fixture
def values() -> dict[str, Any]:
    """The values of an ordinary release, to change at will."""
    return example("ordinary")


@pytest.fixture
def texts(chart: Any) -> Callable[[dict[str, Any]], dict[str, str]]:
    """Render a release to texts by template, without those that come to nothing."""

    def rendered(values: dict[str, Any]) -> dict[str, str]:
        found = chart.render(values, name="prod", namespace="logging")
        return {name.partition("/")[2]: text for name, text in found.items() if text.strip()}

    return rendered


@pytest.fixture
def render(
    texts: Callable[[dict[str, Any]], dict[str, str]],
) -> Callable[[dict[str, Any]], Manifests]:
    """Render a release to its manifests."""

    def manifests(values: dict[str, Any]) -> Manifests:
        found = [text for name, text in texts(values).items() if name.endswith(".yaml")]
        return [each for text in found for each in yaml.safe_load_all(text) if each]

    return manifests
