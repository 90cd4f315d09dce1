"""How soon entries arrive, and what it costs to wait for them: the real bridge on live accounts."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.fakes import KEY
from benchmarks.processes import BenchmarkFailed, fake, run
from benchmarks.scenes import SCENES, Scene
from bridge.model import SECOND

_PREPARING: Final = 15
"""Seconds that the fake has to write what it shows."""
_ARRIVING: Final = 10
_CONFIG: Final = """\
fal: {{base_url: "{api}", key: "{key}"}}
apps: [{apps}]
poll: {{{poll}}}
journal: {{path: "{folder}/journal.sqlite"}}
destinations: [{{name: sink, type: otlp, endpoint: "{otlp}"}}]
admin: {{listen: "127.0.0.1:0"}}
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """One scene. Latencies are in seconds from an entry's time to its arrival.

    ``core`` is the share of one core that the process took, ``asked`` the requests a second to the
    API, both from exec to exit; ``lost`` counts the scene's entries that did not arrive.
    """

    name: str
    title: str
    entries: int
    p50: float
    p99: float
    slowest: float
    core: float
    asked: float
    peak_mib: float
    lost: int


def measure() -> list[Seen]:
    """Play every scene.

    Raises:
        BenchmarkFailed: the bridge failed, or a live entry did not arrive.
    """
    return [_measured(name, scene) for name, scene in SCENES.items()]


def _measured(name: str, scene: Scene) -> Seen:
    print(f"bridge on {scene.title}", file=sys.stderr)
    begin = (int(time.time()) + _PREPARING + scene.settling) * SECOND
    with (
        fake("scene", "--name", name, "--begin", str(begin)) as api,
        fake("sink", "--since", str(begin)) as sink,
        TemporaryDirectory(prefix="fal-log-bridge-bench-") as folder,
    ):
        time.sleep(max(0.0, begin / SECOND - scene.settling - time.time()))
        started, end = time.time(), begin / SECOND + scene.seconds + _ARRIVING
        config = Path(folder) / "config.yaml"
        apps = ", ".join(f'{{app_id: "{app}", start: "{scene.start}"}}' for app in scene.apps)
        config.write_text(
            _CONFIG.format(
                api=api.url, key=KEY, apps=apps, poll=scene.poll, folder=folder, otlp=sink.url
            )
        )
        used = run(
            [sys.executable, "-m", "bridge", "run", "--config", str(config)],
            log=Path(folder) / "output.log",
            timeout=end - started + 60,
            finished=lambda: time.time() > end,
        )
        seconds = time.time() - started
        asked, arrived = api.tally(), sink.tally()
    if not arrived["live"]:
        raise BenchmarkFailed(f"{scene.title}: nothing arrived")
    return Seen(
        name=name,
        title=scene.title,
        entries=arrived["live"],
        p50=arrived["p50"] / 1e3,
        p99=arrived["p99"] / 1e3,
        slowest=arrived["max"] / 1e3,
        core=used.cpu / seconds,
        asked=asked["requests"] / seconds,
        peak_mib=used.peak_mib,
        lost=asked["entries"] - arrived["bodies"],
    )
