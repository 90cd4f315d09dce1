"""What an app's worker says: short stories of log lines, drawn from a seeded random. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from enum import Enum, auto
from random import Random
from typing import Final
from uuid import UUID

from msgspec import Struct


class Pace(Enum):
    """When a line comes, seen from the line before it."""

    SPREAD = auto()
    CLOSE = auto()
    """A few microseconds after it."""
    TIE = auto()
    """On the same microsecond."""


class Call(Struct, frozen=True):
    """The request that a line belongs to."""

    request_id: str
    endpoint: str


class Line(Struct, frozen=True):
    """One line of a story, before it has a time and a worker."""

    message: str
    level: str = "INFO"
    pace: Pace = Pace.SPREAD
    source: str = "run"
    isolate_source: str = "USER"
    call: Call | None = None
    traceback: str | None = None


Story = Sequence[Line]

_ENDPOINTS: Final = ("/", "/v1/generate", "/v1/upscale", "/health", "/ws")
_TRACEBACKS: Final = (
    (
        "Traceback (most recent call last):",
        '  File "/app/serve.py", line 88, in generate',
        "    image = self.pipe(prompt, num_inference_steps=steps)",
        '  File "/app/pipeline.py", line 412, in __call__',
        "    latents = self.unet(latents, t).sample",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
    ),
    (
        "Traceback (most recent call last):",
        '  File "/app/serve.py", line 61, in fetch',
        "    response.raise_for_status()",
        "requests.exceptions.HTTPError: 404 Client Error: Not Found for url: /input.png",
    ),
)


def uuid_of(random: Random) -> str:
    """A version 4 UUID out of seeded randomness."""
    return str(UUID(int=random.getrandbits(128), version=4))


def _call(random: Random) -> Call:
    return Call(uuid_of(random), random.choice(_ENDPOINTS))


def cold_start(random: Random) -> Story:
    """A worker comes up: gateway, builder, then the app itself."""
    seconds = random.uniform(2, 40)
    return (
        Line("Starting worker", source="gateway", isolate_source="BRIDGE"),
        Line(f"Pulling image layers {random.randint(3, 19)}/19", "info", isolate_source="BUILDER"),
        Line("Loading weights from /data/models/base.safetensors", "STDOUT"),
        Line("FutureWarning: `torch_dtype` is deprecated, use `dtype`", "STDERR"),
        Line(f"Model loaded in {seconds:.2f} s"),
        Line("Application startup complete.", pace=Pace.CLOSE),
    )


def request(random: Random) -> Story:
    """One request, from its arrival to its answer."""
    call = _call(random)
    steps = random.choice((20, 28, 50))
    done = sorted(random.sample(range(1, steps), k=random.randint(1, 4)))
    seconds = random.uniform(0.2, 9)
    return (
        Line(f"POST {call.endpoint} accepted", source="gateway", call=call),
        *(Line(f"denoising {step}/{steps}", "STDOUT", call=call) for step in done),
        Line(f"POST {call.endpoint} 200 in {seconds:.3f} s", source="gateway", call=call),
    )


def burst(random: Random) -> Story:
    """Many lines within microseconds."""
    first = random.randint(0, 900)
    return tuple(
        Line(f"cache[{first + at}] evicted", "debug", Pace.CLOSE if at else Pace.SPREAD)
        for at in range(random.randint(4, 8))
    )


def ties(random: Random) -> Story:
    """Different lines on one microsecond: a multi-line print."""
    shape = f"({random.randint(1, 4)}, 4, 128, 128)"
    lines = ("config:", f"  latents: {shape}", "  scheduler: euler", "  guidance: 3.5")
    return tuple(
        Line(text, "stdout", Pace.TIE if at else Pace.SPREAD) for at, text in enumerate(lines)
    )


def repeats(random: Random) -> Story:
    """The same line several times on one microsecond, each of them genuine."""
    text = random.choice(("retrying connection", "queue empty", ""))
    return tuple(
        Line(text, "STDERR", Pace.TIE if at else Pace.SPREAD) for at in range(random.randint(2, 4))
    )


def printed_traceback(random: Random) -> Story:
    """A traceback on stderr: one entry a line."""
    call = _call(random)
    lines = random.choice(_TRACEBACKS)
    return tuple(
        Line(
            text, "STDERR", random.choice((Pace.TIE, Pace.CLOSE)) if at else Pace.SPREAD, call=call
        )
        for at, text in enumerate(lines)
    )


def labelled_traceback(random: Random) -> Story:
    """An error whose traceback the API shows only on request."""
    lines = random.choice(_TRACEBACKS)
    call = _call(random)
    return (Line(f"Unhandled error: {lines[-1]}", "ERROR", traceback="\n".join(lines), call=call),)


def enveloped_traceback(random: Random) -> Story:
    """An error that fal prints as a JSON object."""
    return (Line(json.dumps({"traceback": "\n".join(random.choice(_TRACEBACKS))}), "ERROR"),)


def structured(random: Random) -> Story:
    """A line of an app that logs JSON and takes part in a trace."""
    event = {
        "event": "inference",
        "seconds": round(random.uniform(0.1, 4), 3),
        "trace_id": f"{random.getrandbits(128):032x}",
        "span_id": f"{random.getrandbits(64):016x}",
    }
    return (Line(json.dumps(event)),)


def warning(random: Random) -> Story:
    """Something that is not yet wrong."""
    used = random.randint(80, 99)
    return (Line(f"GPU memory at {used} %", random.choice(("WARNING", "warning"))),)


def countdown(random: Random) -> Story:
    """The line of the document's own example."""
    return (Line(f"{random.randint(1, 120)} seconds of sleep remaining", source="gateway"),)


_TALES: Final[tuple[tuple[Callable[[Random], Story], int], ...]] = (
    (request, 40),
    (countdown, 20),
    (burst, 8),
    (ties, 8),
    (repeats, 5),
    (structured, 6),
    (warning, 5),
    (printed_traceback, 4),
    (labelled_traceback, 2),
    (enveloped_traceback, 2),
)


def tell(random: Random, lines: int, *, starting: bool) -> list[Line]:
    """Whole stories of exactly so many lines, a cold start first if the worker is starting."""
    told = list(cold_start(random))[:lines] if starting else []
    tales, weights = zip(*_TALES, strict=True)
    while len(told) < lines:
        story = random.choices(tales, weights)[0](random)
        if len(story) <= lines - len(told):
            told.extend(story)
    return told
