"""Where the fal key comes from at each request."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.settings import MINIMAL, Loaded

from bridge.errors import ConfigError
from bridge.settings import FileKey, FixedKey


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A key file."""
    path = tmp_path / "fal-key"
    path.write_text("id:first\n", "utf-8")
    return path


def _rewrite(file: Path, text: str) -> None:
    """Put another file in its place, as Kubernetes does, with another time."""
    new = file.with_suffix(".new")
    new.write_text(text, "utf-8")
    os.utime(new, ns=(0, file.stat().st_mtime_ns + 1))
    new.replace(file)


def test_key_of_a_file(file: Path) -> None:
    """The key is what the file says, without spaces around it."""
    file.write_text("  id:first \n\n", "utf-8")
    assert FileKey(file)() == "id:first"


def test_a_new_key_is_seen(file: Path) -> None:
    """A file put in its place is read at the next request."""
    key = FileKey(file)
    _rewrite(file, "id:other\n")
    assert key() == "id:other"


def test_a_key_of_equal_size_written_in_place(file: Path) -> None:
    """The file's time alone gives a change away."""
    key = FileKey(file)
    before = file.stat().st_mtime_ns
    file.write_text("id:later\n", "utf-8")
    os.utime(file, ns=(before, before + 1))
    assert key() == "id:later"


def test_an_unchanged_file_is_not_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing changes a request costs one look at the file's date."""
    key = FileKey(file)
    monkeypatch.setattr(Path, "open", None)
    assert key() == "id:first"


@pytest.mark.parametrize("text", ["", "\n", "a\nb", "a\x07", "\u00e9"])
def test_the_last_good_key_stands(file: Path, text: str) -> None:
    """A file that is empty or no key for a moment changes nothing; the next good one counts."""
    key = FileKey(file)
    _rewrite(file, text)
    assert key() == "id:first"
    _rewrite(file, "id:second")
    assert key() == "id:second"


def test_a_missing_file(file: Path) -> None:
    """A file that is away for a moment changes nothing."""
    key = FileKey(file)
    file.unlink()
    assert key() == "id:first"
    file.mkdir()
    assert key() == "id:first"
    file.rmdir()
    file.write_text("id:second", "utf-8")
    assert key() == "id:second"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot read the key file: No such file"),
        ("", "the file is empty"),
        ("a\nb", "must be one line of printable ASCII"),
    ],
)
def test_no_key_to_begin_with(
    refused: Callable[..., str], tmp_path: Path, text: str | None, words: str
) -> None:
    """At the start there has to be a key."""
    path = tmp_path / "key"
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=words):
        FileKey(path)
    message = refused(MINIMAL.replace('key: "id:the-secret-of-fal"', f"key_file: {path}"))
    assert "fal.key_file (line 1): " in message
    assert words in message


def test_key_file_of_the_settings(loaded: Loaded, file: Path) -> None:
    """fal.key_file becomes a source that follows the file."""
    key = loaded(MINIMAL.replace('key: "id:the-secret-of-fal"', f"key_file: {file}")).fal
    source = key.key_source()
    assert source() == "id:first"
    _rewrite(file, "id:second")
    assert source() == "id:second"


def test_sources_do_not_tell(file: Path) -> None:
    """Neither source shows its key."""
    assert "first" not in repr(FileKey(file))
    assert "secret" not in repr(FixedKey("id:secret"))
    assert FixedKey("id:secret")() == "id:secret"
