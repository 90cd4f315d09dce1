"""Which windows of apps can be audited: closed ones that the ledger covers. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from bridge import settings
from bridge.app.parts import selected_by
from bridge.app.rereading import closed_below
from bridge.errors import ConfigError
from bridge.journal.ledger import AppStanding
from bridge.model import Tick
from bridge.timestamps import format_tick


def window_of(since: settings.Start, until: settings.Start, now: Tick) -> tuple[Tick, Tick]:
    """The window in ticks, as (floor, ceiling).

    Raises:
        ConfigError: it is empty.
    """
    floor, ceiling = since.resolve(now), until.resolve(now)
    if floor >= ceiling:
        raise ConfigError(
            f"the window from {format_tick(floor)} to {format_tick(ceiling)} is empty",
            where="--since, --until",
            hint="give an earlier --since or a later --until",
        )
    return floor, ceiling


def reach_of(standing: AppStanding | None) -> tuple[Tick, Tick] | None:
    """All of an app that can be audited, as (floor, ceiling); None where nothing can be yet."""
    if standing is None:
        return None
    lowest, highest = standing.record.whole_from, closed_below(standing.record)
    return (lowest, highest) if lowest < highest else None


def refusals(
    apps: Sequence[settings.App],
    config: settings.Settings,
    standings: Mapping[str, AppStanding],
    floor: Tick,
    ceiling: Tick,
) -> dict[str, ConfigError]:
    """Why these apps' windows cannot be audited, with ones that can."""
    errors = {
        app.name: refusal(app, config, standings.get(app.name), floor, ceiling) for app in apps
    }
    return {name: error for name, error in errors.items() if error is not None}


def refusal(
    app: settings.App,
    config: settings.Settings,
    standing: AppStanding | None,
    floor: Tick,
    ceiling: Tick,
) -> ConfigError | None:
    """Why the app's window cannot be audited, with one that can; None where it can."""
    where = f"audit of {app.name}"
    if standing is None:
        hint = "run the bridge first"
        return ConfigError("the journal knows nothing of this app", where=where, hint=hint)
    record = standing.record
    if (record.stream, record.filters) != selected_by(app, config):
        return ConfigError(
            "its settings select other entries than those that were journaled",
            where=where,
            hint="audit with the settings that the bridge ran with, or run it with these first",
        )
    lowest, highest = record.whole_from, closed_below(record)
    if lowest <= floor and ceiling <= highest:
        return None
    why = [f"the ledger goes back to {format_tick(lowest)} only"] if floor < lowest else []
    if ceiling > highest:
        why.append(f"from {format_tick(highest)} on entries may still come, before the last sweep")
    reach = reach_of(standing)
    if reach is None:
        hint = (
            "no window of it can be audited yet: no entry came, or the last sweep has still to pass"
        )
    else:
        hint = f"{_options(*_nearest(*reach, floor, ceiling))} is accepted"
    return ConfigError("; ".join(why), where=where, hint=hint)


def for_all(
    reach: Mapping[str, tuple[Tick, Tick] | None], floor: Tick, ceiling: Tick, otherwise: str
) -> list[ConfigError]:
    """One window for all apps that have any, to copy, where there are several of them.

    ``otherwise`` are further options for that.
    """
    able = {name: ends for name, ends in reach.items() if ends is not None}
    if len(able) < 2:  # noqa: PLR2004 - several
        return []
    lowest, highest = max(low for low, _ in able.values()), min(high for _, high in able.values())
    if lowest >= highest:
        text, hint = "no window is accepted by all apps", "audit them one by one, with --app"
    else:
        names = " ".join(f"--app {shlex.quote(name)}" for name in able)
        window = _options(*_nearest(lowest, highest, floor, ceiling))
        parts = ("fal-log-bridge audit", window, names, otherwise)
        text, hint = "a window that all accept", " ".join(part for part in parts if part)
    return [ConfigError(text, where="audit", hint=hint)]


def _nearest(lowest: Tick, highest: Tick, floor: Tick, ceiling: Tick) -> tuple[Tick, Tick]:
    """A window that would do: the wanted one as far as possible."""
    since, until = max(floor, lowest), min(ceiling, highest)
    return (since, until) if since < until else (lowest, highest)


def _options(since: Tick, until: Tick) -> str:
    return f"--since {format_tick(since)} --until {format_tick(until)}"
