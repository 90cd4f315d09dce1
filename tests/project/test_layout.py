"""The layout's rules, read off the source: who may import whom, who may touch the world."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_BASE = frozenset(
    {
        "model",
        "errors",
        "clock",
        "timestamps",
        "gaps",
        "patterns",
        "pulse",
        "tasks",
        "coding",
        "proto",
        "network",
    }
)
_LOW = frozenset({"mapping", "journal", "destinations", "telemetry"})
_HIGH = frozenset({"source", "delivery", "admin"})
_BELOW_APP = _BASE | {"payload", "settings"} | _LOW | _HIGH

# What each room of the package may import besides itself. A room that is not here has no place
# in the layout yet: give it one, here and in CONTRIBUTING.md.
_MAY_IMPORT: dict[str, frozenset[str]] = {
    "model": frozenset(),
    "errors": frozenset(),
    "timestamps": frozenset({"model", "errors"}),
    "gaps": frozenset({"model", "timestamps"}),
    "patterns": frozenset(),
    "coding": frozenset(),
    "proto": frozenset(),
    "network": frozenset({"errors"}),
    "clock": frozenset({"model", "errors"}),
    "pulse": frozenset({"clock"}),
    "tasks": frozenset(),
    "payload": _BASE,
    "settings": frozenset({"model", "errors", "timestamps", "patterns"}),
    "simulator": _BASE | {"payload"},
    **dict.fromkeys(_LOW, _BASE | {"payload"}),
    **dict.fromkeys(_HIGH, _BASE | {"payload"} | _LOW),
    "app": _BELOW_APP,
    "demo": _BELOW_APP | {"app", "simulator"},
    "cli": _BELOW_APP | {"app", "demo", "simulator"},
    "__main__": frozenset({"cli", "errors"}),
}

_PURE = (
    "payload.py",
    "timestamps.py",
    "gaps.py",
    "patterns.py",
    "coding.py",
    "mapping/*.py",
    "mapping/shaping/*.py",
    "source/walk.py",
    "source/elimination.py",
    "source/fingerprint.py",
    "source/schedule.py",
    "source/silence.py",
    "delivery/retry.py",
    "delivery/split.py",
    "delivery/inflight.py",
    "delivery/selection.py",
)
_WORLDLY_MODULES = (
    "asyncio",
    "bridge.clock",
    "httpx",
    "io",
    "logging",
    "os",
    "pathlib",
    "shutil",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
    "threading",
    "time",
)
_WORLDLY_CALLS = frozenset({"open", "print", "input", "now", "utcnow", "today"})
_ENVIRONMENT = frozenset({"environ", "environb", "getenv", "getenvb"})


def _modules(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


def _dotted(package: Path, path: Path) -> str:
    """A file's module name; a package's is that of its folder."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(package: Path, path: Path) -> Iterator[tuple[int, str]]:
    """The (line, dotted name) of everything a file imports, relative imports resolved."""
    anchor = path.relative_to(package.parent).parent.parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = anchor[: len(anchor) + 1 - node.level] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def _room(dotted: str) -> str:
    """The room of a name within the package: ``bridge.source.rest`` is in ``source``."""
    return dotted.split(".")[1]


@pytest.fixture(scope="session")
def package(project: Path) -> Path:
    """The import package's folder."""
    return project / "bridge"


def test_imports_point_one_way(package: Path) -> None:
    """Each room imports only the rooms below it, and rooms side by side not each other."""
    rooms = {child.stem for child in package.iterdir() if child.is_dir() or child.suffix == ".py"}
    wrong = []
    for path in _modules(package):
        if path.parent == package and path.stem == "__init__":
            continue
        room = _room(_dotted(package, path))
        allowed = _MAY_IMPORT.get(room, frozenset()) | {room}
        wrong += [
            f"{path.relative_to(package.parent)}:{line} imports {name}"
            for line, name in _imports(package, path)
            if name.startswith("bridge.") and _room(name) in rooms - allowed
        ]
    assert not wrong, "\n".join(wrong)


def test_every_room_has_its_place(package: Path) -> None:
    """No room exists outside the layout."""
    rooms = {_room(_dotted(package, path)) for path in _modules(package) if path.parent != package}
    files = {path.stem for path in package.glob("*.py")} - {"__init__"}
    assert rooms | files <= _MAY_IMPORT.keys()


def test_only_settings_reads_the_environment(package: Path) -> None:
    """Nobody but the settings touches environment variables."""
    wrong = [
        f"{path.relative_to(package.parent)}:{node.lineno}"
        for path in _modules(package)
        if _room(f"{_dotted(package, path)}.") != "settings"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr in _ENVIRONMENT)
        or (isinstance(node, ast.alias) and node.name in _ENVIRONMENT)
    ]
    assert not wrong, f"reads the environment: {', '.join(wrong)}"


@pytest.mark.parametrize("pattern", _PURE)
def test_pure_modules_are_pure(package: Path, pattern: str) -> None:
    """Pure modules have no await, clock, file, socket or logging."""
    paths = sorted(package.glob(pattern))
    assert paths, f"no module {pattern}: correct the list of pure modules"
    wrong = [
        f"{path.relative_to(package.parent)}:{line} {what}"
        for path in paths
        for line, what in _worldly(package, path)
    ]
    assert not wrong, "\n".join(wrong)


def _worldly(package: Path, path: Path) -> Iterator[tuple[int, str]]:
    """What in a file reaches outside of its arguments: (line, what)."""
    for line, name in _imports(package, path):
        if any(name == module or name.startswith(f"{module}.") for module in _WORLDLY_MODULES):
            yield line, f"imports {name}"
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield node.lineno, "is asynchronous"
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
            if called in _WORLDLY_CALLS:
                yield node.lineno, f"calls {called}()"
