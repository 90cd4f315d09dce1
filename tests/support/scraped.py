"""Metrics as a scraper has them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from bridge.telemetry.registry import Registry

Scraped = dict[str, dict[tuple[str, ...], float]]


def scraped(text: str) -> Scraped:
    """The numbers of each series: by name, then by the values of its labels in order of names."""
    series: Scraped = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values = tuple(value for _, value in sorted(sample.labels.items()))
            assert values not in series.setdefault(sample.name, {}), sample
            series[sample.name][values] = sample.value
    return series


def scrape(registry: Registry) -> Scraped:
    """What a registry says now."""
    return scraped(registry.exposition("")[1].decode())
