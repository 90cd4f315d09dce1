"""The composition root: every concrete part of the bridge is built here, from the settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import IO, Final

import httpx
from msgspec import Struct
from msgspec.structs import asdict, replace

from bridge import __version__, network, settings
from bridge.app.backfills import Backfills, Engage, Room
from bridge.app.bridge import Bridge
from bridge.app.metered import Metered
from bridge.app.recent import Recent, Watched
from bridge.app.silences import Silences
from bridge.clock import Clock, SystemClock
from bridge.delivery.forwarder import Forwarder
from bridge.delivery.selection import Selection, TooOld
from bridge.destinations import Destination
from bridge.destinations.file import File
from bridge.destinations.otlp_http import OtlpHttp
from bridge.destinations.tls import Tls, context_for
from bridge.journal import Journal, Start
from bridge.journal.sqlite import SqliteJournal
from bridge.mapping import Mapper
from bridge.mapping.severity import INFO, severity_number
from bridge.mapping.shaping import Drop, Mask, Rules, Sample, preset_masks
from bridge.model import SECOND, Backfill, BackfillApp, Filter
from bridge.patterns import Pattern
from bridge.source.account import Account
from bridge.source.backfill import Backfiller
from bridge.source.limiter import Limiter
from bridge.source.platform import PlatformApi
from bridge.source.reader import Reader
from bridge.source.rest import RestApi
from bridge.source.scout import Scout
from bridge.source.shaped import ShapedTally
from bridge.source.tailer import AppSpec, Tailer
from bridge.source.traits import Traits
from bridge.telemetry import Emit
from bridge.telemetry.meter import NO_METER, Meter
from bridge.telemetry.spans import NO_TRACER, Tracer

API_TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)

STREAM_ATTRIBUTE: Final = "service.instance.id"
"""What makes a backfill's records a stream of their own where order counts (decision 26)."""

IN_FLIGHT: Final = 4
"""Requests on their way to one destination at a time."""


class World(Struct, frozen=True):
    """What the bridge touches besides its settings; tests put their own in place.

    Transports stand in for the network, ``open_journal`` for the file. ``recent`` is where the last
    entries are kept for people to look at, None for nowhere.
    """

    clock: Clock
    random: Random
    emit: Emit
    out: IO[bytes]
    open_journal: Callable[[settings.Journal, Clock], Journal]
    api_transport: httpx.AsyncBaseTransport | None = None
    otlp_transport: Callable[[str], httpx.AsyncBaseTransport | None] = lambda _: None
    meter: Meter = NO_METER
    tracer: Tracer = NO_TRACER
    recent: Recent | None = None


def real_world(
    emit: Emit,
    meter: Meter = NO_METER,
    tracer: Tracer = NO_TRACER,
    recent: Recent | None = None,
) -> World:
    """The machine's clock, network, disk and standard output."""
    jitter = Random()  # noqa: S311 - spreads retries, keeps no secret
    return World(
        *(SystemClock(), jitter, emit, sys.stdout.buffer, _open_journal),
        meter=meter,
        tracer=tracer,
        recent=recent,
    )


def _open_journal(place: settings.Journal, clock: Clock) -> Journal:
    return SqliteJournal.open(
        place.path,
        max_bytes=place.max_bytes,
        clock=clock,
        ledger_bytes=place.ledger_max_bytes,
        dead_letters_max_bytes=place.dead_letters_max_bytes,
    )


async def build(
    config: settings.Settings, world: World, stack: AsyncExitStack, *, reading: bool = True
) -> Bridge:
    """Build every part; the stack releases them in reverse order. Not ``reading``: no tailers.

    Raises:
        ConfigError: the settings, or what the journal holds of them, cannot be used.
        JournalUnusable: the journal cannot be opened.
    """
    journal = world.open_journal(config.journal, world.clock)
    stack.push_async_callback(journal.aclose)
    forwarders, files, sending = [], [], []
    for one in config.destinations:
        destination = destination_of(one, world)
        stack.push_async_callback(destination.aclose)
        # What has no timeout of its own may rest for as long as it likes.
        timeout: float | None = getattr(one, "timeout", None)
        sending.append(
            Metered(*(destination, world.meter, world.clock), timeout=timeout, tracer=world.tracer)
        )
        forwarders.append(forwarder_of(one, sending[-1], journal, world))
        if isinstance(destination, File):
            files.append(destination)
    account = await account_of(config, world, stack)
    apps = config.apps if reading else ()
    tailers = [tailer_of(app, config, account, journal, world) for app in apps]
    for tailer in tailers:
        await tailer.resume()
    # Last: what is not going to run must not hold the journal for a destination that is new.
    await attach_all(config, journal)
    return Bridge(
        tailers=tailers,
        forwarders=forwarders,
        files=files,
        sending=sending,
        silences=Silences(
            tailers,
            {app.name: app.expect_every for app in config.apps if app.expect_every is not None},
            time=account.time,
            clock=world.clock,
            emit=world.emit,
        ),
        scout=scout_of(config, tailers, account, world),
        backfills=Backfills(
            journal=journal,
            forwarders=forwarders,
            engage=engaging(config, world, account, journal),
            clock=world.clock,
            emit=world.emit,
        ),
        account=account,
        journal=journal,
        clock=world.clock,
        emit=world.emit,
    )


async def rehearse(config: settings.Settings, world: World) -> None:
    """Build what needs no journal, and let it go: does so beside a running bridge.

    Raises:
        ConfigError: the settings cannot be used, whatever the journal holds.
    """
    async with AsyncExitStack() as stack:
        for one in config.destinations:
            stack.push_async_callback(destination_of(one, world).aclose)
        await account_of(config, world, stack)


async def attach_all(config: settings.Settings, journal: Journal) -> None:
    """Put every configured destination in use.

    Before the first of them delivers, or it could clear away what new ones have to come.
    """
    for one in config.destinations:
        await journal.attach(one.name, Start(one.start))


async def account_of(config: settings.Settings, world: World, stack: AsyncExitStack) -> Account:
    """The way to the API, with a pooled client that the stack closes.

    Raises:
        ConfigError: the environment's CA certificates or its proxy cannot be used.
    """
    client = network.client(
        world.api_transport or context_for(config.fal.base_url),
        headers={"User-Agent": f"fal-log-bridge/{__version__}"},
        timeout=API_TIMEOUT,
    )
    await stack.enter_async_context(client)
    dialect = PlatformApi if config.fal.api == "platform" else RestApi
    api = dialect(client, base_url=config.fal.base_url, key=config.fal.key_source())
    limiter = Limiter(
        world.clock,
        requests_per_second=config.poll.requests_per_second,
        concurrency=config.poll.concurrency,
    )
    traits = Traits(world.clock, world.emit)
    return Account(api, limiter, world.clock, traits, world.meter, tracer=world.tracer)


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
    bare = mapper_of(app)
    # Where the whole account is read, each entry says itself whose it is.
    shown_as = app.name if app.app_id else None
    mapper = bare if world.recent is None else Watched(shown_as, bare, world.recent)
    return Tailer(
        spec,
        account=account,
        journal=journal,
        encode=mapper.encode,
        settle=mapper.settle,
        clock=world.clock,
        random=world.random,
        emit=world.emit,
        meter=world.meter,
        tracer=world.tracer,
    )


def scout_of(
    config: settings.Settings, tailers: Sequence[Tailer], account: Account, world: World
) -> Scout:
    """What wakes the apps that are read whole, by the names that entries have of them.

    Not where filters pass over much of an app, since most of what wakes it would be none of its
    business; nor with the platform API, whose entries may name an app otherwise than its queries.
    """
    apps = {app.name: app for app in config.apps}
    sleepers = [
        (app.filter.app_id, tailer)
        for tailer in tailers
        if (app := apps[tailer.name]).filter.app_id is not None
        and app.filter == Filter(app.filter.app_id, traceback=app.filter.traceback)
        and config.fal.api == "rest"
    ]
    return Scout(
        sleepers,
        account=account,
        interval=config.poll.interval,
        max_interval=config.poll.max_interval,
        page_size=config.poll.page_size,
        clock=world.clock,
        random=world.random,
    )


def engaging(config: settings.Settings, world: World, account: Account, journal: Journal) -> Engage:
    """What builds the reader of one app for a backfill, or says why these settings have none."""
    apps = {app.name: app for app in config.apps}

    def engage(job: Backfill, part: BackfillApp, room: Room) -> Backfiller | str:
        app = apps.get(part.name)
        if app is None:
            return "it is not configured; put it back, or cancel the backfill"
        if selected_by(app, config) != (part.stream, part.filters):
            return "its settings select other entries than when the backfill began; cancel it"
        mapper = mapper_of(app, backfill=job.name if job.own_stream else None)
        reader = Reader(
            app.name,
            app.filter,
            page_size=config.poll.page_size,
            account=account,
            clock=world.clock,
            random=world.random,
            emit=world.emit,
            patient=True,
        )
        return Backfiller(
            job,
            part,
            reader=reader,
            account=account,
            journal=journal,
            encode=mapper.encode,
            shaped=ShapedTally(app.name, mapper.settle, clock=world.clock, emit=world.emit),
            room=room,
            meter=world.meter,
            clock=world.clock,
            random=world.random,
            emit=world.emit,
        )

    return engage


def selected_by(app: settings.App, config: settings.Settings) -> tuple[str, str]:
    """What a position belongs to, as `AppRecord` has it: stream and filters, canonical texts."""
    stream = {"api": config.fal.api, "app_id": app.filter.app_id}
    filters = asdict(replace(app.filter, app_id=None))
    return json.dumps(stream, sort_keys=True), json.dumps(filters, sort_keys=True)


def mapper_of(app: settings.App, *, backfill: str | None = None) -> Mapper:
    """How one app's entries become log records; those of a backfill, a stream of their own."""
    resource = dict(app.resource)
    if backfill is not None:
        before = f"{resource[STREAM_ATTRIBUTE]}-" if STREAM_ATTRIBUTE in resource else ""
        resource[STREAM_ATTRIBUTE] = f"{before}backfill-{backfill}"
    return Mapper(
        app=app.name,
        service=app.service,
        fallback_service=app.app_id or app.name,
        resource=resource,
        stderr_severity=severity_number(app.stderr_level, stderr=INFO),
        rules=rules_of(app.shape),
    )


def rules_of(shape: settings.Shape) -> Rules | None:
    """What is done to an app's entries before they are mapped; None for nothing."""
    masks = (
        Mask(f"mask[{number}]", mask.pattern, mask.replacement)
        for number, mask in enumerate(shape.mask)
    )
    rules = Rules(
        strip_ansi=shape.strip_ansi,
        join_tracebacks=shape.join_tracebacks,
        parse_json=shape.parse_json,
        json_prefix=shape.json_prefix,
        infer_level=shape.infer_level,
        drop=tuple(
            Drop(
                message=Pattern(rule.message) if rule.message else None,
                attributes={name: Pattern(text) for name, text in rule.attributes.items()},
                below=_number_of(rule.below),
            )
            for rule in shape.drop
        ),
        sample=tuple(Sample(rule.rate, _number_of(rule.below)) for rule in shape.sample),
        drop_attributes=shape.drop_attributes,
        masks=(*masks, *preset_masks(shape.mask_presets)),
    )
    return None if rules == Rules(json_prefix=shape.json_prefix) else rules


def _number_of(level: str | None) -> int | None:
    return None if level is None else severity_number(level, stderr=INFO)


def destination_of(one: settings.Destination, world: World) -> Destination:
    """One destination, not connected yet.

    Raises:
        ConfigError: a file of certificates, a header or an extra is not as it should be.
    """
    match one:
        case settings.Console():
            from bridge.destinations.console import Console  # noqa: PLC0415 - if used at all

            return Console(one.name, world.out)
        case settings.File():
            return File(one.name, one.path.absolute(), format_=one.format)
        case settings.Syslog():
            return _syslog(one)
        case settings.Otlp(protocol="grpc"):
            return _otlp_grpc(one)
        case settings.Otlp():
            return _otlp_http(one, world)


def _syslog(one: settings.Syslog) -> Destination:
    """By one of several protocols, which are imported only here."""
    from bridge.destinations.rfc5424 import Layout  # noqa: PLC0415 - see above
    from bridge.destinations.syslog import Syslog  # noqa: PLC0415 - see above

    layout = set(Layout.__struct_fields__) & one.model_fields_set
    return Syslog(
        one.name,
        one.endpoint,
        # The values themselves: dumped, a size is text such as 8KB.
        layout=Layout(**{key: getattr(one, key) for key in layout}),
        timeout=one.timeout,
        tls=Tls(**one.tls.model_dump()),
        framing=one.framing,
        window=one.window,
    )


def _otlp_http(one: settings.Otlp, world: World) -> OtlpHttp:
    assert one.protocol != "grpc"  # noqa: S101 - for the types; `destination_of` sees to it
    return OtlpHttp(
        one.name,
        one.url,
        _headers(one),
        compression=one.compression,
        timeout=one.timeout,
        tls=Tls(**one.tls.model_dump()),
        protocol=one.protocol,
        max_payload=one.max_payload,
        transport=world.otlp_transport(one.name),
    )


def _otlp_grpc(one: settings.Otlp) -> Destination:
    """Over gRPC, which is heavy and imported only here."""
    settings.quieten_grpc()
    from bridge.destinations.otlp_grpc import OtlpGrpc  # noqa: PLC0415 - see above

    assert one.compression != "zstd"  # noqa: S101 - for the types; the settings refuse it
    return OtlpGrpc(
        one.name,
        one.url,
        _headers(one),
        compression=one.compression,
        timeout=one.timeout,
        tls=Tls(**one.tls.model_dump()),
        max_payload=one.max_payload,
    )


def _headers(one: settings.Otlp) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in one.headers.items()}


def selection_of(one: settings.Destination) -> Selection:
    """What of the journal goes to one destination."""
    return Selection(
        destination=one.name,
        apps=one.apps,
        min_severity=severity_number(one.min_level, stderr=INFO),
        resource=one.resource,
        max_age=None if one.max_age is None else round(one.max_age * SECOND),
        too_old=TooOld(one.too_old),
    )


def forwarder_of(
    one: settings.Destination, sending: Metered, journal: Journal, world: World
) -> Forwarder:
    """The loop that serves one destination, through what counts its sends."""
    # One at a time where there is one stream to write to, so that lines come in order.
    in_flight = IN_FLIGHT if isinstance(one, settings.Otlp) else 1
    return Forwarder(
        sending,
        journal,
        world.clock,
        world.emit,
        world.random,
        in_flight=in_flight,
        selection=selection_of(one),
    )
