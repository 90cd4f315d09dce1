"""An RFC 5424 parser written from the RFC's grammar (section 6), not from what is being tested."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEADER = re.compile(
    rb"<(0|[1-9]\d{0,2})>([1-9]\d{0,2}) "
    rb"(-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) "
    rb"(-|[!-~]{1,255}) (-|[!-~]{1,48}) (-|[!-~]{1,128}) (-|[!-~]{1,32}) "
)
_NAME = re.compile(rb"[!#-<>-\\^-~]{1,32}")
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Parsed:
    """One message, taken apart."""

    priority: int
    timestamp: str
    hostname: str
    app_name: str
    proc_id: str
    msg_id: str
    sd_id: str
    params: list[tuple[str, str]]
    message: str
    bom: bool

    @property
    def uid(self) -> str:
        """Its ``log.record.uid``."""
        return self.param("log.record.uid")

    def param(self, name: str) -> str:
        """The first parameter of a name."""
        return next(value for key, value in self.params if key == name)


def parse(octets: bytes) -> Parsed:
    """Read a message with one element of structured data; anything out of grammar raises."""
    head = _HEADER.match(octets)
    assert head, octets[:200]
    assert int(head[1]) <= 191
    assert head[2] == b"1"
    at = head.end()
    assert octets[at : at + 1] == b"["
    at += 1
    sd_id, at = _name(octets, at)
    params = []
    while octets[at : at + 1] == b" ":
        name, at = _name(octets, at + 1)
        assert octets[at : at + 2] == b'="'
        value, at = _value(octets, at + 2)
        params.append((name, value))
    assert octets[at : at + 1] == b"]"
    rest = octets[at + 1 :]
    assert not rest or rest[:1] == b" "
    message = rest[1:]
    timestamp, hostname, app_name, proc_id, msg_id = (f.decode("ascii") for f in head.groups()[2:])
    bom = message.startswith(BOM)
    text = message.removeprefix(BOM).decode("utf-8")
    return Parsed(
        priority=int(head[1]),
        timestamp=timestamp,
        hostname=hostname,
        app_name=app_name,
        proc_id=proc_id,
        msg_id=msg_id,
        sd_id=sd_id,
        params=params,
        message=text,
        bom=bom,
    )


def _name(octets: bytes, at: int) -> tuple[str, int]:
    found = _NAME.match(octets, at)
    assert found, octets[at : at + 60]
    return found[0].decode("ascii"), found.end()


def _value(octets: bytes, at: int) -> tuple[str, int]:
    """A PARAM-VALUE: a backslash escapes a quote, a backslash and a bracket, nothing else."""
    value = bytearray()
    while octets[at] != ord('"'):
        assert octets[at] != ord("]")
        if octets[at] == ord("\\"):
            at += 1
            assert octets[at] in b'"\\]'
        value.append(octets[at])
        at += 1
    return value.decode("utf-8"), at + 1
