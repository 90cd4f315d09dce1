"""A real rsyslog takes what we send: UDP, TCP, TLS, mutual TLS, RELP, RELP over TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from destinations.requests import request
from support import certificates
from support.rsyslog import RELP, TCP, UDP, Rsyslog, eventually, relps, running, tls

from bridge.destinations.rfc5424 import Layout, OnLong
from bridge.destinations.stream import Framing
from bridge.destinations.syslog import Syslog
from bridge.destinations.tls import Tls
from bridge.model import Outcome, Verdict
from bridge.payload import Request

pytestmark = pytest.mark.server("rsyslogd", "openssl")

DELIVERED = Outcome(Verdict.DELIVERED)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates."""
    return certificates.make(tmp_path_factory.mktemp("keys"))


def trusting(keys: Path, *, ca: str = "ca", name: str = certificates.HOST) -> Tls:
    """Settings that reach the receiver, without a certificate of our own."""
    return Tls(ca_file=keys / f"{ca}.pem", server_name_override=name)


def known(keys: Path) -> Tls:
    """The same with one."""
    return Tls(
        ca_file=keys / "ca.pem",
        cert_file=keys / "client.pem",
        key_file=keys / "client.key",
        server_name_override=certificates.HOST,
    )


def destination(
    receiver: Rsyslog,
    scheme: str,
    trust: Tls,
    *,
    framing: Framing = "octet-counting",
    on_long: OnLong = "cut",
) -> Syslog:
    """The way to a receiver."""
    return Syslog(
        "rsyslog",
        f"{scheme}://127.0.0.1:{receiver.port}",
        layout=Layout(on_long=on_long),
        timeout=10,
        tls=trust,
        framing=framing,
    )


def sent(to: Syslog, *requests: Request) -> list[Outcome]:
    """What sends come to, one after the other."""

    async def main() -> list[Outcome]:
        outcomes = [await to.send(one) for one in requests]
        await to.aclose()
        return outcomes

    return asyncio.run(main())


HOSTILE = 'first\nsecond\x00 "quoted" [in brackets] \\ \x1b[31mred\x1b[0m \ufffd é漢🦀'


def everything() -> list[Request]:
    """A thousand records, a hostile one and a long one."""
    return [
        *(request(*(f"{n}-{m}" for m in range(100)), body="é" * 100) for n in range(10)),
        request("hostile", body=HOSTILE),
        request("long", body="é" * 100_000),
    ]


@pytest.mark.parametrize(
    ("scheme", "how"),
    [
        ("udp", "plain"),
        ("tcp", "plain"),
        ("tcp", "lf"),
        ("tls", "gtls"),
        ("tls", "ossl"),
        ("tls", "gtls client"),
        ("tls", "ossl client"),
        ("relp", "plain"),
        ("relps", "gnutls"),
        ("relps", "openssl"),
    ],
)
def test_everything_arrives_readable(tmp_path: Path, keys: Path, scheme: str, how: str) -> None:
    """Each once; the long message is cut with a mark, the hostile one can be read."""
    driver, _, client = how.partition(" ")
    inputs = {
        "udp": UDP,
        "tcp": TCP,
        "relp": RELP,
        "tls": tls(keys, driver, demands_client=bool(client)),
        "relps": relps(keys, driver),
    }[scheme]
    trust = known(keys) if client or scheme == "relps" else trusting(keys)
    with running(tmp_path, inputs) as receiver:
        to = destination(receiver, scheme, trust, framing="lf" if how == "lf" else "octet-counting")
        assert to.acknowledged is (scheme in {"relp", "relps"})
        assert sent(to, *everything()) == [DELIVERED] * 12
        eventually(lambda: len(receiver.lines()) >= 1002, receiver.said())
        got = {message.uid: message for message in receiver.messages()}
        assert len(receiver.lines()) == len(got) == 1002
    hostile, long = got["hostile"], got["long"]
    line_break = "\\n" if how == "lf" else "#012"  # rsyslog's own way to write a line feed
    assert hostile.message == (
        f'first{line_break}second\\x00 "quoted" [in brackets] \\ \\x1b[31mred\\x1b[0m \ufffd é漢🦀'
    )
    assert long.message.endswith(" bytes left out]")
    assert long.message.startswith("é" * 3_800)
    assert (hostile.app_name, hostile.priority) == ("app", 134)


def test_a_long_message_in_parts(tmp_path: Path) -> None:
    """Numbered, nothing missing."""
    with running(tmp_path, RELP) as receiver:
        to = destination(receiver, "relp", Tls(), on_long="split")
        assert sent(to, request("long", body="é" * 100_000)) == [DELIVERED]
        eventually(lambda: len(receiver.lines()) >= 26, receiver.said())
        parts = receiver.messages()
    assert [part.param("bridge.part") for part in parts] == [f"{n}/26" for n in range(1, 27)]
    assert "".join(part.message for part in parts) == "é" * 100_000


@pytest.mark.parametrize("how", ["tls gtls", "tls ossl", "relps gnutls", "relps openssl"])
def test_a_certificate_that_does_not_fit_holds(tmp_path: Path, keys: Path, how: str) -> None:
    """Wrong CA, wrong host, no certificate of ours: named, and passed when mended."""
    scheme, _, driver = how.partition(" ")
    inputs = tls(keys, driver, demands_client=True) if scheme == "tls" else relps(keys, driver)
    wrong = {
        "certificate verification failed": trusting(keys, ca="other-ca"),
        "not valid for 'other.test'": trusting(keys, name="other.test"),
        "certificate": trusting(keys),
    }
    with running(tmp_path, inputs) as receiver:
        for why, trust in wrong.items():
            outcomes = sent(destination(receiver, scheme, trust), request("a"), request("b"))
            assert {outcome.verdict for outcome in outcomes} == {Verdict.BLOCKED}
            assert all(why in outcome.reason for outcome in outcomes)
        assert sent(destination(receiver, scheme, known(keys)), request("a")) == [DELIVERED]
        eventually(lambda: receiver.uids() == ["a"], receiver.said())


async def delivered(to: Syslog, requests: Sequence[Request]) -> int:
    """Deliver as a forwarder would, in order and as often as it takes; how many tries failed."""
    failed = 0
    for one in requests:
        while (await to.send(one)).verdict is not Verdict.DELIVERED:
            failed += 1
            await asyncio.sleep(0.05)
    return failed


async def killed_in_between(receiver: Rsyslog, total: int) -> None:
    """Kill and restart it five times, each time when another sixth has arrived."""
    for kills in range(1, 6):
        while len(receiver.lines()) < kills * total // 6:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
        await asyncio.to_thread(receiver.kill)
        await asyncio.to_thread(receiver.start)


def through_kills(receiver: Rsyslog, scheme: str, uids: Sequence[str]) -> int:
    """Deliver records while the receiver is killed five times; how many tries failed."""
    requests = [request(*uids[at : at + 100], body="x" * 200) for at in range(0, len(uids), 100)]

    async def main() -> int:
        to = destination(receiver, scheme, Tls())
        killing = asyncio.create_task(killed_in_between(receiver, len(uids)))
        failed = await delivered(to, requests)
        await killing
        await to.aclose()
        return failed

    return asyncio.run(main())


UIDS = [f"uid-{n:05}" for n in range(10_000)]


def test_nothing_is_lost_over_relp(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten thousand records, five times killed with -9, a queue that is synced to the disk."""
    with running(tmp_path, RELP, durable=True) as receiver:
        failed = through_kills(receiver, "relp", UIDS)
        assert failed >= 5
        everything, arrived = set(UIDS), lambda: len(set(receiver.uids()))
        # It syncs each record to a disk that other tests may be busy with.
        eventually(lambda: everything <= set(receiver.uids()), "records are missing", arrived)
        again = len(receiver.uids()) - len(UIDS)
    with capsys.disabled():
        said = f"RELP: 0 of {len(UIDS)} lost, {again} twice, {failed} failed tries"
        print(f"\n{said}")  # noqa: T201 - a measurement


def test_what_is_lost_over_tcp(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Best effort: how many, measured; a lost connection is noticed."""
    with running(tmp_path, TCP) as receiver:
        failed = through_kills(receiver, "tcp", UIDS)
        receiver.stop()
        lost = len(set(UIDS) - set(receiver.uids()))
    with capsys.disabled():
        said = f"TCP: {lost} of {len(UIDS)} lost, {failed} failed tries"
        print(f"\n{said}")  # noqa: T201 - a measurement
    assert lost < len(UIDS)
