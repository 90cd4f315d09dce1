"""The port to a logs API."""

from __future__ import annotations

from typing import Protocol

from bridge.model import Page, Query


class LogsApi(Protocol):
    """Answers one query with one page."""

    async def page(self, query: Query) -> Page:
        """Fetch one page.

        Raises:
            ApiError: no usable page; its subclasses say what kind of trouble it is.
        """
        ...
