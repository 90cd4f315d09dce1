"""A certificate authority for tests, made with openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

HOST = "collector.test"
"""Who the server's certificates are for."""


def make(folder: Path, *, host: str = HOST) -> Path:
    """Write ca, other-ca, server, expired and client (each .pem and .key) to a folder."""
    for ca in ("ca", "other-ca"):
        _openssl(
            folder,
            *("req", "-x509", *_KEY, "-subj", f"/CN={ca}", "-days", "2"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
            *("-keyout", f"{ca}.key", "-out", f"{ca}.pem"),
        )
    _sign(folder, "server", host, days=2)
    _sign(folder, "client", "client.test", days=2)
    _sign(folder, "expired", host, days=-1)
    return folder


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _sign(folder: Path, name: str, host: str, *, days: int) -> None:
    extensions = folder / f"{name}.ext"
    extensions.write_text(f"subjectAltName=DNS:{host}\nbasicConstraints=critical,CA:false\n")
    _openssl(
        folder,
        *("req", *_KEY, "-subj", f"/CN={host}"),
        *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
    )
    _openssl(
        folder,
        *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
        *("-CAcreateserial", "-days", str(days), "-extfile", extensions.name),
        *("-out", f"{name}.pem"),
    )


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
