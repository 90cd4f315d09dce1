"""The composition root: every concrete part of the bridge is built here, from the settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import IO, Final

import httpx

from bridge import __version__, settings
from bridge.app.bridge import Bridge
from bridge.app.metered import Metered
from bridge.clock import Clock, SystemClock
from bridge.delivery.forwarder import Forwarder
from bridge.destinations import Destination
from bridge.destinations.console import Console
from bridge.destinations.otlp_http import OtlpHttp
from bridge.destinations.tls import Tls
from bridge.errors import proxy_error
from bridge.journal import Journal
from bridge.journal.sqlite import SqliteJournal
from bridge.mapping import Mapper
from bridge.mapping.severity import INFO, severity_number
from bridge.model import SECOND
from bridge.source.account import Account
from bridge.source.limiter import Limiter
from bridge.source.platform import PlatformApi
from bridge.source.rest import RestApi
from bridge.source.tailer import AppSpec, Tailer
from bridge.source.traits import Traits
from bridge.telemetry import Emit
from bridge.telemetry.meter import NO_METER, Meter

API_TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)

IN_FLIGHT: Final = 4
"""Requests on their way to one destination at a time."""


@dataclass(frozen=True, slots=True)
class World:
    """What the bridge touches besides its settings; tests put their own in place.

    Transports stand in for the network, ``open_journal`` for the file.
    """

    clock: Clock
    random: Random
    emit: Emit
    out: IO[bytes]
    open_journal: Callable[[settings.Journal, Clock], Journal]
    api_transport: httpx.AsyncBaseTransport | None = None
    otlp_transport: Callable[[str], httpx.AsyncBaseTransport | None] = lambda _: None
    meter: Meter = NO_METER


def real_world(emit: Emit, meter: Meter = NO_METER) -> World:
    """The machine's clock, network, disk and standard output."""
    jitter = Random()  # noqa: S311 - spreads retries, keeps no secret
    return World(SystemClock(), jitter, emit, sys.stdout.buffer, _open_journal, meter=meter)


def _open_journal(place: settings.Journal, clock: Clock) -> Journal:
    return SqliteJournal.open(
        place.path,
        max_bytes=place.max_bytes,
        clock=clock,
        ledger_bytes=place.ledger_max_bytes,
    )


async def build(config: settings.Settings, world: World, stack: AsyncExitStack) -> Bridge:
    """Build every part; the stack releases them in reverse order.

    Raises:
        ConfigError: the settings, or what the journal holds of them, cannot be used.
        JournalUnusable: the journal cannot be opened.
    """
    journal = world.open_journal(config.journal, world.clock)
    stack.push_async_callback(journal.aclose)
    forwarders, sending = [], []
    for one in config.destinations:
        destination = destination_of(one, world)
        stack.push_async_callback(destination.aclose)
        # All are in use before the first delivers, or it could clear away what others have to come.
        await journal.attach(destination.name)
        # What has no timeout of its own may rest for as long as it likes.
        timeout: float | None = getattr(one, "timeout", None)
        sending.append(Metered(destination, world.meter, world.clock, timeout=timeout))
        forwarders.append(forwarder_of(destination, sending[-1], journal, world))
    account = await account_of(config, world, stack)
    tailers = [tailer_of(app, config, account, journal, world) for app in config.apps]
    for tailer in tailers:
        await tailer.resume()
    return Bridge(
        tailers=tailers,
        forwarders=forwarders,
        sending=sending,
        account=account,
        journal=journal,
        clock=world.clock,
        emit=world.emit,
    )


async def account_of(config: settings.Settings, world: World, stack: AsyncExitStack) -> Account:
    """The way to the API, with a pooled client that the stack closes."""
    try:
        client = httpx.AsyncClient(
            timeout=API_TIMEOUT,
            transport=world.api_transport,
            headers={"User-Agent": f"fal-log-bridge/{__version__}"},
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise proxy_error(error) from error
    await stack.enter_async_context(client)
    dialect = PlatformApi if config.fal.api == "platform" else RestApi
    api = dialect(client, base_url=config.fal.base_url, key=config.fal.key_source())
    limiter = Limiter(
        world.clock,
        requests_per_second=config.poll.requests_per_second,
        concurrency=config.poll.concurrency,
    )
    return Account(api, limiter, world.clock, Traits(world.clock, world.emit), world.meter)


def tailer_of(
    app: settings.App,
    config: settings.Settings,
    account: Account,
    journal: Journal,
    world: World,
) -> Tailer:
    """The reader of one app."""
    stream, filters = selected_by(app, config)
    spec = AppSpec(
        name=app.name,
        named=app.name != app.app_id,
        stream=stream,
        filters=filters,
        filter=app.filter,
        start=app.start.resolve,
        interval=config.poll.interval,
        max_interval=config.poll.max_interval,
        page_size=config.poll.page_size,
        late_sweeps=tuple(round(age * SECOND) for age in config.poll.late_sweeps),
        ledger_for=round(config.journal.ledger_for * SECOND),
        backlog_width=config.poll.concurrency,
    )
    return Tailer(
        spec,
        account=account,
        journal=journal,
        encode=mapper_of(app).encode,
        clock=world.clock,
        random=world.random,
        emit=world.emit,
        meter=world.meter,
    )


def selected_by(app: settings.App, config: settings.Settings) -> tuple[str, str]:
    """What a position belongs to, as `AppRecord` has it: stream and filters, canonical texts."""
    stream = {"api": config.fal.api, "app_id": app.filter.app_id}
    filters = asdict(replace(app.filter, app_id=None))
    return json.dumps(stream, sort_keys=True), json.dumps(filters, sort_keys=True)


def mapper_of(app: settings.App) -> Mapper:
    """How one app's entries become log records."""
    return Mapper(
        app=app.name,
        service=app.service,
        fallback_service=app.app_id or app.name,
        resource=app.resource,
        stderr_severity=severity_number(app.stderr_level, stderr=INFO),
    )


def destination_of(one: settings.Destination, world: World) -> Destination:
    """One destination, not connected yet."""
    if isinstance(one, settings.Console):
        return Console(one.name, world.out)
    return OtlpHttp(
        one.name,
        one.url,
        {name: value.get_secret_value() for name, value in one.headers.items()},
        compression=one.compression,
        timeout=one.timeout,
        tls=Tls(**one.tls.model_dump()),
        transport=world.otlp_transport(one.name),
    )


def forwarder_of(
    destination: Destination, sending: Metered, journal: Journal, world: World
) -> Forwarder:
    """The loop that serves one destination, through what counts its sends."""
    # One at a time on the console, so that lines come in order.
    in_flight = 1 if isinstance(destination, Console) else IN_FLIGHT
    return Forwarder(sending, journal, world.clock, world.emit, world.random, in_flight=in_flight)
