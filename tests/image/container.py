"""Build the container image and run it, without an engine or an image registry, as root.

    python tests/image/container.py build TAG
    python tests/image/container.py run TAG [ARGUMENT...]

The base is a bare Debian with Python, made on the spot. The build installs with the pip that this
machine is set up with: its configuration, read when the build runs, and the certificates and
folders that it names are mounted, never copied, into it.

It runs as strictly as a cluster would have it, on the machine's own network and with this
environment's variables of the bridge. A volume named ``fal-log-bridge`` holds the journal.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bridge import __version__

_PROJECT = Path(__file__).parents[2]
_SUITE = "bookworm"
_BASE_PACKAGES = "python3,python3-venv,ca-certificates"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_OURS = re.compile(r"(FAL|BRIDGE|OTEL)_\w+")

# Without systemd there are no timers for health checks; they are asked for by hand.
PODMAN = (
    *("env", "DISABLE_HC_SYSTEMD=true"),
    *("podman", "--cgroup-manager", "cgroupfs", "--runtime", "runc"),
)
# What a restricted pod security policy asks for, and less memory than anyone would give.
_STRICT = (
    *("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"),
    *("--read-only", "--read-only-tmpfs=false", "--memory", "128m"),
    *("--user", "10001", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)
STATE = "/var/lib/fal-log-bridge"


def build(tag: str) -> None:
    """Build the project's Dockerfile on a fresh base.

    Raises:
        subprocess.CalledProcessError: a step failed; its output is on stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        base = _base(f"{tag}-base", Path(folder))
        mounts = [f"--volume={source}:{target}:ro" for source, target in _mounts(Path(folder))]
        _done(
            *("buildah", "bud", "--format", "docker", "--isolation", "chroot"),
            *("--network", "host", "--pull=never", f"--build-arg=BASE_IMAGE={base}"),
            f"--build-arg=VERSION={__version__}",
            "--build-arg=BUILD_PACKAGES=gcc libc6-dev python3-dev",
            *mounts,
            *("--tag", tag, str(_PROJECT)),
        )


def run(tag: str, *args: str, options: Sequence[str] = ()) -> list[str]:
    """The command that runs the image strictly; ``options`` are podman's and may add to it."""
    return [*PODMAN, "run", "--rm", *_STRICT, *options, tag, *args]


def _run_here(tag: str, *args: str) -> int:
    """Run it in the foreground; the exit code."""
    variables = [f"--env={name}" for name in os.environ if _OURS.fullmatch(name)]
    options = ("--network=host", f"--volume=fal-log-bridge:{STATE}", *variables)
    return subprocess.call(run(tag, *args, options=options))


def _base(tag: str, folder: Path) -> str:
    """An image of a minimal Debian with Python 3.11."""
    archive = folder / "base.tar"
    _done(
        *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={_BASE_PACKAGES}"),
        *(_SUITE, str(archive)),
    )
    container = _done("buildah", "from", "scratch")
    try:
        _done("buildah", "add", container, str(archive), "/")
        _done("buildah", "commit", "--format", "docker", container, tag)
    finally:
        _done("buildah", "rm", container)
    return tag


def _mounts(folder: Path) -> Iterator[tuple[Path, Path]]:
    """What the build's pip needs of this machine, as (here, there)."""
    settings = dict(_pip_settings())
    config = folder / "pip.conf"
    config.touch(mode=0o600)  # an index address may hold a password
    lines = (f"{key} = {value}".replace("\n", "\n    ") for key, value in settings.items())
    config.write_text("\n".join(["[global]", *lines, ""]))
    yield config, Path("/etc/pip.conf")
    words = [word for value in settings.values() for word in value.split()]
    named = {Path(word) for word in words if word.startswith("/")}
    # A local index keeps its packages beside its pages.
    named |= {Path(word[7:]).parent for word in words if word.startswith("file:///")}
    named = {path for path in named | {_CERTIFICATES} if path.exists() and path != path.parent}
    yield from ((path, path) for path in sorted(named))


def _pip_settings() -> Iterator[tuple[str, str]]:
    """Pip's settings from its files and from the environment, which wins, for any command."""
    listing = _done(sys.executable, "-m", "pip", "config", "list").splitlines()
    for line in sorted(listing, key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in {"global", ":env:", "install"}:
            yield key, str(ast.literal_eval(value))


def _done(*command: str) -> str:
    """Run one step; what it said is shown only if it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        sys.stderr.write(f"{done.stdout}{done.stderr}")
        done.check_returncode()
    return done.stdout.strip()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["build", name]:
            build(name)
        case ["run", name, *rest]:
            sys.exit(_run_here(name, *rest))
        case _:
            sys.exit(__doc__)
