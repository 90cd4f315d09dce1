"""``fal-log-bridge demo``: the real bridge on a simulated fal account, with a tally."""

from __future__ import annotations

from typing import Annotated

import typer


def demo(
    *,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so long; else at Ctrl-C.")
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0.1, max=2_000, help="Entries written a second.")
    ] = 25.0,
    seed: Annotated[int, typer.Option(help="Same seed, same entries.")] = 1,
) -> None:
    """Watch entries of a simulated account arrive at an embedded OTLP receiver.

    Exits with 0 only if everything that was written has arrived.

    Example: fal-log-bridge demo --seconds 20 --rate 100
    """
    import asyncio  # noqa: PLC0415 - keeps --help quick

    from bridge.demo import run_demo  # noqa: PLC0415

    raise typer.Exit(asyncio.run(run_demo(seconds=seconds, rate=rate, seed=seed)))
