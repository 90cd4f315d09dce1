"""README's quick start, as somebody meets it: a bare Debian, no root, nothing installed before.

The folder is a real root file system of a minimal Debian with the packages that README names. pip
is set up as on this machine, since that is how it reaches an index here.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from image import container

PROJECT = Path(__file__).parents[2]
PACKAGES = ("make", "python3-venv", "python3", "git", "ca-certificates")
NOBODY = "10007"
HOME = "/srv/newcomer"

pytestmark = [
    pytest.mark.server("mmdebstrap", "unshare", "root"),
    pytest.mark.timeout(900),  # it installs everything, on a machine that may be busy
]


@pytest.fixture
def debian(tmp_path: Path) -> Iterator[Path]:
    """The root of a minimal Debian, with a checkout that belongs to an ordinary user."""
    root = tmp_path / "debian"
    _run(
        *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
        *("bookworm", str(root)),
    )
    checkout = root / HOME.strip("/") / "fal-log-bridge"
    for name in _run("git", "-C", str(PROJECT), "ls-files", "-z").split("\0")[:-1]:
        target = checkout / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, target)
    _run("chown", "--recursive", f"{NOBODY}:{NOBODY}", str(root / HOME.strip("/")))
    yield root
    shutil.rmtree(root)


def test_the_demo_runs_on_a_bare_debian(
    debian: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``make demo`` is all it takes, and again it is quick; how long each took is printed."""
    seconds = []
    for _ in range(2):
        began = monotonic()
        output = _as_newcomer(debian, tmp_path, 'make demo ARGS="--seconds 5"')
        seconds.append(monotonic() - began)
        tally = re.findall(
            r"written ([\d,]+) · delivered ([\d,]+) · missing 0 · repeated \d+", output
        )
        assert tally, output
        written, delivered = tally[-1]
        assert written == delivered != "0"
    with capsys.disabled():
        said = "make demo on a bare Debian: {:.0f} s, then {:.0f} s".format(*seconds)
        print(f"\n{said}")  # noqa: T201 - a measurement


def test_readme_names_what_it_takes() -> None:
    """The packages that are installed here beside a minimal Python are those of README."""
    readme = (PROJECT / "README.md").read_text("utf-8")
    named = re.search(r"`apt install ([^`]+)`", readme)
    assert named
    assert set(named[1].split()) <= set(PACKAGES)


def _as_newcomer(root: Path, folder: Path, command: str) -> str:
    """Run a shell command in the checkout, as an ordinary user of that Debian.

    What it mounts is seen by it alone, and gone with it.
    """
    settings = folder / "settings"
    settings.mkdir(exist_ok=True)
    script = ["set -e", f"mount --rbind /dev {_there(root, '/dev')}"]
    script.append(f"mount -t proc proc {_there(root, '/proc')}")
    for here, there in [*container._mounts(settings), *_network()]:
        inside = root / str(there).lstrip("/")
        if here.is_dir():
            inside.mkdir(parents=True, exist_ok=True)
        else:
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.touch()
        readable = ["chmod", "-R", "a+rX", str(here)] if here.is_relative_to(folder) else ["true"]
        script.append(shlex.join(readable))
        script.append(shlex.join(["mount", "--bind", str(here), str(inside)]))
    inner = f"cd {HOME}/fal-log-bridge && {command}"
    script.append(
        shlex.join(
            [
                *("exec", "chroot", f"--userspec={NOBODY}:{NOBODY}", str(root)),
                *("/usr/bin/env", "-i", f"HOME={HOME}", "PATH=/usr/bin:/bin", "LANG=C.UTF-8"),
                *("/bin/sh", "-c", inner),
            ]
        )
    )
    isolated = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
    return _run(*isolated, "sh", "-c", "\n".join(script))


def _there(root: Path, path: str) -> str:
    return shlex.quote(str(root / path.strip("/")))


def _network() -> Iterator[tuple[Path, Path]]:
    """How this machine finds others by name."""
    files = map(Path, ("/etc/resolv.conf", "/etc/hosts"))
    yield from ((path.resolve(), path) for path in files if path.exists())


def _run(*command: str) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, f"{shlex.join(command)[:500]}\n{done.stdout}\n{done.stderr}"
    return done.stdout
