"""Secrets are never printed: not in settings, not in errors, not in warnings."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.settings import ENVIRON, MINIMAL, Loaded

from bridge.errors import ConfigError
from bridge.settings import load
from bridge.settings.reference import json_schema

SECRET = "s3cr3t-0f-n0b0dy"

WITH_SECRETS = f"""
fal: {{key: "id:{SECRET}"}}
apps: [{{app_id: a}}]
destinations:
  - name: out
    type: otlp
    endpoint: https://h
    headers: {{Authorization: "Bearer {SECRET}", x-key: {SECRET}}}
"""


def test_settings_do_not_tell(loaded: Loaded) -> None:
    """No way of showing settings shows a secret."""
    settings = loaded(WITH_SECRETS)
    shown = [
        repr(settings),
        str(settings),
        str(settings.model_dump()),
        str(settings.model_dump(mode="json")),
        settings.model_dump_json(),
        repr(settings.fal.key_source()),
        str(settings.warnings),
        str(json_schema()),
    ]
    assert not [text for text in shown if SECRET in text]
    # Still there for those who need them, also after a copy.
    assert SECRET in settings.fal.key_source()()
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    "text",
    [
        f'fal: {{key: "{SECRET}\\u0007"}}',
        f"fal: {{key: [{SECRET}]}}",
        f"fal: {{key: {{x: {SECRET}}}}}",
        f"fal: {{key: {SECRET}, key_file: /x}}",
        f"fal: {{kee: {SECRET}}}",
        f"fal: {SECRET}-and-a-tail-that-makes-it-long",
        f"fal: {{key: a, base_url: 'https://u:{SECRET}@h'}}",
        f"fal: {{key: a, base_url: 'https://{SECRET}@h'}}",
        f"destinations: [{{name: a, type: otlp, endpoint: 'ftp://u:{SECRET}@h'}}]",
        f"destinations: [{{name: a, type: otlp, protocol: grpc, endpoint: 'u:{SECRET}@h'}}]",
        f"destinations: [{{name: a, type: syslog, endpoint: 'tcp://u:{SECRET}@h:1'}}]",
        f"destinations: [{{name: a, type: otlp, headers: {SECRET}}}]",
        f"destinations: [{{name: a, type: otlp, headers: [{SECRET}]}}]",
        f"destinations: [{{name: a, type: otlp, headers: {{k: [{SECRET}]}}}}]",
        f'destinations: [{{name: a, type: otlp, headers: {{k: "{SECRET}\\n"}}}}]',
        f"destinations: [{{name: a, type: otlp, header: {{k: {SECRET}}}}}]",
    ],
)
def test_errors_do_not_tell(refused: Callable[..., str], text: str) -> None:
    """A secret in the wrong form, or under a wrong key, is not repeated in the message."""
    assert SECRET not in refused(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FAL_KEY", f"{SECRET}\x07"),
        ("FAL_KEY_SECRET", SECRET),
        ("BRIDGE_FAL__KEY", f"{SECRET}\x07"),
        ("BRIDGE_FAL", f'{{"key": ["{SECRET}"]}}'),
        ("BRIDGE_FAL", f'{{"key": "{SECRET}-that-is-not-closed'),
        ("BRIDGE_DESTINATIONS", f'[{{"headers": {{"k": "{SECRET}"}}, "type": "otlp"}}]'),
        ("BRIDGE_DESTINATIONS", f'[{{"headers": {{"k": "{SECRET}'),
        ("OTEL_EXPORTER_OTLP_HEADERS", SECRET),
        ("OTEL_EXPORTER_OTLP_HEADERS", f"a={SECRET}%0A"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://u:{SECRET}@h"),
    ],
)
def test_variables_do_not_tell(tmp_path: Path, name: str, value: str) -> None:
    """Nor is a secret in a variable, not even by the traceback of the error."""
    path = tmp_path / "config.yaml"
    path.write_text("poll: {interval: wrong}\n", "utf-8")
    environ = {**ENVIRON, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h", name: value}
    with pytest.raises(ConfigError) as caught:
        load(path, environ)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "key", ["poll: {interval: X}", "fal: {api: X}", "admin: {listen: X}", "poll: {page_size: X}"]
)
def test_what_a_placeholder_gave_is_not_shown(refused: Callable[..., str], key: str) -> None:
    """A secret that a placeholder put in the wrong place is not repeated either."""
    message = refused(f"{key.replace('X', '${env:SHORT}')}\n", {"SHORT": "s3cr3t"})
    assert "s3cr3t" not in message


def test_syntax_errors_do_not_tell(refused: Callable[..., str]) -> None:
    """The piece of the file around a syntax error is not shown."""
    assert SECRET not in refused(f"fal: {{key: {SECRET}\napps: x\n")


@given(key=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=33, max_size=80))
def test_a_key_in_any_place(key: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A real key, which is long, is not shown wherever in the file it is written by mistake."""
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    quoted = "'" + key.replace("'", "''").replace("$", "$$") + "'"
    path.write_text(
        f"fal: {{api: {quoted}}}\npoll: {{interval: {quoted}, concurrency: {quoted}}}\n"
        f"apps: [{quoted}, {{level: {quoted}, start: {quoted}}}]\nadmin: {quoted}\n",
        "utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        load(path, ENVIRON)
    assert key not in str(caught.value)


def test_minimal_is_silent(loaded: Loaded) -> None:
    """The settings that most people have cause no word at all."""
    assert loaded(MINIMAL).warnings == ()
