"""``fal-log-bridge simulate``: a simulated fal account on a port."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from itertools import cycle
from shlex import quote
from typing import Annotated, Final

import typer

from bridge.clock import SystemClock
from bridge.model import SECOND
from bridge.simulator.account import APPS
from bridge.simulator.alone import Plan, Progress, Trait, run_alone
from bridge.simulator.logs_api import LogsApiConfig, TracebackPlace
from bridge.simulator.logs_query import BodyForm
from bridge.simulator.rate_limit import RateLimit

_EVERY: Final = 10
"""Seconds between two counts where there is no terminal."""


def simulate(
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes any free one.")
    ] = 9845,
    host: Annotated[
        str, typer.Option(help="IPv4 address to listen on; 0.0.0.0 is all, as in a container.")
    ] = "127.0.0.1",
    rate: Annotated[
        float, typer.Option(min=0.001, max=100_000, help="Entries written a second, by all apps.")
    ] = 5.0,
    app: Annotated[
        list[str] | None,
        typer.Option(help=f"Name of an app; repeatable (default: {', '.join(APPS)})."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same entries.")] = 1,
    key: Annotated[str, typer.Option(help="The key that is accepted.")] = "key-id:key-secret",
    late: Annotated[
        float, typer.Option(min=0, max=1, help="Share of entries shown 0.5 to 20 s late.")
    ] = 0.02,
    history: Annotated[
        float, typer.Option(min=0, help="Minutes of logs written before the start.")
    ] = 10.0,
    keep: Annotated[float, typer.Option(min=0.1, help="Minutes that logs are kept.")] = 60.0,
    cap: Annotated[
        int | None, typer.Option(min=1, help="Show at most so many entries a page, silently.")
    ] = None,
    max_limit: Annotated[
        int | None, typer.Option(min=1, help="Refuse a larger limit with 422.")
    ] = None,
    body: Annotated[BodyForm, typer.Option(help="Body that is accepted.")] = BodyForm.OBJECT,
    tracebacks: Annotated[
        TracebackPlace, typer.Option(help="Where tracebacks appear when asked for.")
    ] = TracebackPlace.LABELS,
    requests_per_second: Annotated[
        int | None, typer.Option(min=1, help="Answer 429 beyond this.")
    ] = None,
    faults: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of requests that go wrong: 5xx, 429, HTML, cut, dropped, slow.",
        ),
    ] = 0.0,
    trait: Annotated[
        list[Trait] | None,
        typer.Option(
            help="Deviate from the document so; repeatable. A minute after the start, crowd writes "
            "2,500 alike lines of the first app on one tick, and poison fails for one second of it."
        ),
    ] = None,
) -> None:
    """Serve a simulated fal account until Ctrl-C.

    Several apps write believable logs; the Logs REST API and the Platform API show them as fal
    would, both at the same address. It is on loopback unless told otherwise.

    Example: fal-log-bridge simulate --rate 200 --app alpha --app beta

    Example: fal-log-bridge simulate --cap 100 --faults 0.3

    Example: fal-log-bridge simulate --cap 1000 --trait crowd
    """
    rate_limit = RateLimit(requests_per_second) if requests_per_second else None
    plan = Plan(
        port=port,
        host=host,
        rate=rate,
        apps=tuple(app or APPS),
        seed=seed,
        late=late,
        history=history * 60,
        api=LogsApiConfig(
            key=key,
            cap=cap,
            max_limit=max_limit,
            body=body,
            tracebacks=tracebacks,
            rate=rate_limit,
            retention=int(keep * 60 * SECOND),
        ),
        faults=faults,
        traits=tuple(trait or ()),
    )
    asyncio.run(_until_stopped(plan))


async def _until_stopped(plan: Plan) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    show = _rewrite if sys.stderr.isatty() else _print_some()
    last = await run_alone(
        plan,
        SystemClock(),
        stop,
        ready=lambda url: typer.echo(_welcome(plan, url)),
        progress=show,
    )
    typer.echo(f"\n{_line(last)}")


def _welcome(plan: Plan, url: str) -> str:
    return f"""\
Simulated fal account on {url}
{len(plan.apps)} apps write {plan.rate:g} entries a second, seed {plan.seed}. For a bridge:

  export FAL_KEY={quote(plan.api.key)}
  export BRIDGE_FAL__BASE_URL={url}
  export BRIDGE_APPS={quote(",".join(plan.apps))}

It reads the Logs REST API, or with BRIDGE_FAL__API=platform the Platform API.
Ctrl-C ends it."""


def _line(progress: Progress) -> str:
    counts = sorted(progress.statuses.items())
    answers = ", ".join(f"{count:,} of {status}" for status, count in counts) or "none"
    return f"written {progress.written:,} · answers {answers} · faults {progress.struck:,}"


def _rewrite(progress: Progress) -> None:
    typer.echo(f"\r{_line(progress)}\x1b[K", nl=False, err=True)


def _print_some() -> Callable[[Progress], None]:
    """Without a terminal, a line now and then instead of one that changes."""
    turns = cycle(range(_EVERY))

    def show(progress: Progress) -> None:
        if next(turns) == 0:
            typer.echo(_line(progress), err=True)

    return show
