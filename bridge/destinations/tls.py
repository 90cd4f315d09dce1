"""TLS towards a backend."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import httpx
from msgspec import Struct

from bridge.errors import ConfigError, causes

T = TypeVar("T")


class Tls(Struct, frozen=True):
    """How to trust a backend and be trusted by it; the default is the system's usual way."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name_override: str | None = None
    insecure_skip_verify: bool = False


_USUAL: Final = Tls()


def context_for(url: str, tls: Tls = _USUAL) -> ssl.SSLContext:
    """The TLS context for one URL, see `context`; where none is spoken, one that trusts nobody.

    It spares what plain HTTP has no use for: reading the usual CA certificates takes 25 ms.
    """
    if urlsplit(url).scheme == "http" and tls == _USUAL:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return context(tls)


def context(tls: Tls) -> ssl.SSLContext:
    """Build the TLS context; without ``ca_file`` the CA variables of httpx apply.

    Raises:
        ConfigError: a certificate or key file is missing or unusable.
    """
    if tls.key_file is not None and tls.cert_file is None:
        raise ConfigError(
            "a client key needs its certificate",
            where=str(tls.key_file),
            hint="set tls.cert_file as well",
        )
    built = _trust(tls.ca_file)
    if tls.cert_file is not None:
        try:
            # The password callback keeps OpenSSL from asking on the terminal.
            built.load_cert_chain(tls.cert_file, tls.key_file, password=str)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"cannot use the client certificate: {_why(error)}",
                where=f"{tls.cert_file}" + (f", {tls.key_file}" if tls.key_file else ""),
                hint="tls.cert_file and tls.key_file are PEM files without a password",
            ) from error
    if tls.insecure_skip_verify:
        built.check_hostname = False
        built.verify_mode = ssl.CERT_NONE
    return built


class Files:
    """Notices that TLS files have changed under their names, as by a renewal."""

    def __init__(self, tls: Tls) -> None:
        """Remember how they are now; to be called before they are read."""
        self._paths = tuple(filter(None, (tls.ca_file, tls.cert_file, tls.key_file)))
        self._read = self._looks()

    def reread(self, build: Callable[[], T]) -> T | None:
        """What is built of them, where they have changed since they were last read and can be used.

        A renewal that is half written is tried again at the next call.
        """
        looks = self._looks()
        if looks == self._read:
            return None
        try:
            built = build()
        except (ConfigError, OSError):
            return None
        self._read = looks
        return built

    def _looks(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(map(_look, self._paths))


class Renewable:
    """A context whose files are read again, where they have changed, when `renew` is called.

    The context stays the same object, so who holds it speaks by the new files from the next
    connection on. A CA that is taken out of ``ca_file`` stays trusted.
    """

    def __init__(self, tls: Tls, url: str = "") -> None:
        """Build it, for this URL if it is for one.

        Raises:
            ConfigError: as `context`.
        """
        self._tls = tls
        self._files = Files(tls)
        self.context = context_for(url, tls)

    def renew(self) -> None:
        """Look at the files; to be called before connecting again after a failure."""
        self._files.reread(self._load)

    def _load(self) -> bool:
        tls = self._tls
        context(tls)  # files that do not fit are to leave the one in use as it is
        if tls.ca_file is not None:
            self.context.load_verify_locations(tls.ca_file)
        if tls.cert_file is not None:
            self.context.load_cert_chain(tls.cert_file, tls.key_file, password=str)
        return True


class Pem(Struct, frozen=True):
    """The same as bytes, for libraries with a TLS of their own: PEM text, None for nothing."""

    ca: bytes
    cert: bytes | None = None
    key: bytes | None = None


def pem(tls: Tls) -> Pem:
    """What to trust and what to show, as `context` has it.

    Raises:
        ConfigError: as `context`, or the CA certificates are only known by a folder.
    """
    trust = context(tls)
    if tls.ca_file is not None:
        ca = tls.ca_file.read_bytes()
    else:
        ders = trust.get_ca_certs(binary_form=True)
        ca = "".join(map(ssl.DER_cert_to_PEM_cert, ders)).encode()
    if not ca:
        raise ConfigError(
            "a folder of CA certificates cannot be used here",
            where="SSL_CERT_DIR",
            hint="name a file of them by tls.ca_file or SSL_CERT_FILE",
        )
    if tls.cert_file is None:
        return Pem(ca)
    return Pem(ca, tls.cert_file.read_bytes(), (tls.key_file or tls.cert_file).read_bytes())


def refusal_in(error: BaseException) -> str:
    """The TLS refusal behind an error: a bad certificate, or an alert from the other side.

    Empty if there is none: a connection that merely broke off while TLS was spoken is none.
    """
    broken = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
    for link in causes(error):
        if isinstance(link, ssl.SSLCertVerificationError):
            return f"certificate verification failed: {link.verify_message}"
        if isinstance(link, ssl.SSLError) and not isinstance(link, broken):
            mend = " (is it http:// rather than https://?)"
            return f"{link}{mend if 'WRONG_VERSION_NUMBER' in str(link) else ''}"
    return ""


def _look(path: Path) -> tuple[int, int, int] | None:
    """What changes with a file's contents; None where it is missing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        if ca_file is None:
            return httpx.create_ssl_context()
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigError(
            f"cannot use the CA certificates: {_why(error)}",
            where=str(ca_file or "SSL_CERT_FILE"),
            hint="it must be a readable PEM file",
        ) from error


def _why(error: Exception) -> str:
    """An error in words, without the path that is told beside it."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
