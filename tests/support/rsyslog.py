"""A real rsyslogd on loopback ports that writes down whole messages."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.ports import free_port
from support.syslog_parser import Parsed, parse

_PATIENCE = 60
_DURABLE = """
main_queue(queue.type="disk" queue.filename="main" queue.checkpointInterval="1"
           queue.syncQueueFiles="{synced}" queue.timeoutEnqueue="60000"
           queue.timeoutShutdown="60000")
"""


ADDRESS = 'port="{port}" address="127.0.0.1"'
UDP = f'module(load="imudp")\ninput(type="imudp" {ADDRESS} rcvbufSize="4m")\n'
TCP = f'module(load="imtcp")\ninput(type="imtcp" {ADDRESS})\n'
RELP = f'module(load="imrelp")\ninput(type="imrelp" {ADDRESS})\n'


def tls(keys: Path, driver: str, *, demands_client: bool = False) -> str:
    """Syslog over TLS (RFC 5425), with one of rsyslog's two libraries."""
    auth = "x509/certvalid" if demands_client else "anon"
    return (
        f'global(defaultNetstreamDriver="{driver}"\n'
        f'  defaultNetstreamDriverCAFile="{keys}/ca.pem"\n'
        f'  defaultNetstreamDriverCertFile="{keys}/server.pem"\n'
        f'  defaultNetstreamDriverKeyFile="{keys}/server.key")\n'
        f'module(load="imtcp" streamDriver.name="{driver}" streamDriver.mode="1"\n'
        f'  streamDriver.authMode="{auth}")\n'
        f'input(type="imtcp" {ADDRESS})\n'
    )


def relps(keys: Path, library: str, *, server: str = "server") -> str:
    """RELP over TLS, which demands a client's certificate."""
    return (
        f'module(load="imrelp" tls.tlslib="{library}")\n'
        f'input(type="imrelp" {ADDRESS} tls="on" tls.authMode="certvalid"\n'
        f'  tls.caCert="{keys}/ca.pem" tls.myCert="{keys}/{server}.pem"\n'
        f'  tls.myPrivKey="{keys}/{server}.key")\n'
    )


def inputs(scheme: str, keys: Path | None = None) -> str:
    """The input that takes a scheme; over TLS it demands a client's certificate."""
    if keys is None:
        return {"udp": UDP, "tcp": TCP, "relp": RELP}[scheme]
    return tls(keys, "gtls", demands_client=True) if scheme == "tls" else relps(keys, "openssl")


def eventually(
    holds: Callable[[], bool], what: str, so_far: Callable[[], object] = lambda: None
) -> None:
    """Another process can only be waited for in real time, anew while it gets on with it."""
    seen, deadline = so_far(), time.monotonic() + _PATIENCE
    while not holds():
        if (now := so_far()) != seen:
            seen, deadline = now, time.monotonic() + _PATIENCE
        assert time.monotonic() < deadline, f"{what}; so far: {seen}"
        time.sleep(0.02)


class Rsyslog:
    """One receiver; it keeps its port, queue and output file when it is started again."""

    def __init__(
        self, folder: Path, inputs: str, *, durable: bool = False, synced: bool = True
    ) -> None:
        """Prepare; ``inputs`` configures one input, ``{port}`` in place of its port.

        A ``durable`` one keeps a queue on the disk; ``synced``, it would survive the machine's
        crash, not only its own, and is several times slower.
        """
        sync = "on" if synced else "off"
        self.port = free_port()
        self.is_udp = "imudp" in inputs
        self._output = folder / "received"
        self._said = folder / "said"
        self._config = folder / "rsyslog.conf"
        self._pid = folder / "pid"
        self._config.write_text(
            f'global(workDirectory="{folder}" processInternalMessages="off")\n'
            + inputs.replace("{port}", str(self.port))
            + (_DURABLE.format(synced=sync) if durable else "")
            + 'template(name="raw" type="string" string="%rawmsg%\\n")\n'
            + f'action(type="omfile" file="{self._output}" template="raw"'
            + (f' sync="{sync}" flushOnTXEnd="on"' if durable else "")
            + ")\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run until `kill` or `stop`, listening when this returns."""
        program = shutil.which("rsyslogd", path="/usr/sbin:/sbin:" + os.environ.get("PATH", ""))
        assert program
        self._pid.unlink(missing_ok=True)
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                [program, "-n", "-f", self._config, "-i", self._pid], stdout=said, stderr=said
            )
        eventually(self._listens, f"rsyslogd does not start: {self._said.read_text()}")

    def kill(self) -> None:
        """As a crash ends it."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As a service manager ends it."""
        self._end(signal.SIGTERM)

    def lines(self) -> list[bytes]:
        """What it has written, message by message; one that is being written is left out."""
        written = self._output.read_bytes() if self._output.exists() else b""
        return written[: written.rfind(b"\n") + 1].splitlines()

    def messages(self) -> list[Parsed]:
        """The same, parsed."""
        return [parse(line) for line in self.lines()]

    def uids(self) -> list[str]:
        """The uids of what it has written."""
        marked = (line.partition(b'log.record.uid="') for line in self.lines())
        return [rest.partition(b'"')[0].decode() for _, mark, rest in marked if mark]

    def said(self) -> str:
        """What it said about itself."""
        return self._said.read_text()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(_PATIENCE)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._said.read_text()
        if self.is_udp:
            return f":{self.port:04X} " in Path("/proc/net/udp").read_text()
        return f":{self.port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()


@contextmanager
def running(folder: Path, inputs: str, *, durable: bool = False) -> Iterator[Rsyslog]:
    """A receiver for the length of a test."""
    receiver = Rsyslog(folder, inputs, durable=durable)
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()
