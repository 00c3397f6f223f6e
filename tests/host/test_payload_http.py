# SPDX-License-Identifier: MIT
"""The board's HTTP client on MicroPython against a real TLS server on loopback."""

from __future__ import annotations

import datetime
import hashlib
import http.server
import ipaddress
import json
import os
import random
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

BOARD = Path(__file__).parents[1] / "device/http_download.py"
MICROPYTHON = os.environ.get("MICROPYTHON") or str(Path(sys.executable).with_name("micropython"))
FILE = random.Random(1).randbytes(70_000)
DAY = datetime.timedelta(days=1)


class Files(http.server.BaseHTTPRequestHandler):
    """Serves FILE at /file with ranges, and redirects elsewhere."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Range")))  # type: ignore[attr-defined]
        if self.path == "/to-file":
            return self.answer(302, b"", Location="/file")
        if self.path == "/to-http":
            return self.answer(302, b"", Location="http://localhost/file")
        if self.path == "/to-other":
            return self.answer(302, b"", Location="https://127.0.0.2/file")
        if self.path != "/file":
            return self.answer(404, b"no such file")
        asked = self.headers.get("Range")
        if asked and self.headers.get("If-Range") == '"v1"':
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            span = f"bytes {start}-{len(FILE) - 1}/{len(FILE)}"
            return self.answer(206, FILE[start:], ETag='"v1"', Content_Range=span)
        return self.answer(200, FILE, ETag='"v1"')

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    requests: list[tuple[str, str | None]]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves in the middle, or refuses the certificate, is what tests want."""


class Authority:
    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        now = datetime.datetime.now(datetime.UTC)
        builder = self._builder(self.name, self.key.public_key(), now - DAY, now + DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        self.certificate = builder.sign(self.key, hashes.SHA256())

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        start: datetime.datetime,
        end: datetime.datetime,
    ) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name)
        builder = builder.public_key(key).serial_number(x509.random_serial_number())
        return builder.not_valid_before(start).not_valid_after(end)

    def issue(self, folder: Path, host: str, *, days: int = 1) -> Path:
        """A PEM file with certificate and key for `host`, valid until `days` from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        now = datetime.datetime.now(datetime.UTC)
        builder = self._builder(subject, key.public_key(), now - 30 * DAY, now + days * DAY)
        names: list[x509.GeneralName] = [x509.DNSName(host)]
        if host == "localhost":
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        out = folder / f"{host}.pem"
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        certificate = builder.sign(self.key, hashes.SHA256())
        out.write_bytes(certificate.public_bytes(Encoding.PEM) + pem)
        return out


@contextmanager
def serving(pem: Path | None) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Files)
    server.requests = []
    if pem:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def download(
    folder: Path,
    authority: Authority,
    server: Server,
    path: str,
    *,
    length: int = len(FILE),
    drop_at: int = 0,
    scheme: str = "https",
) -> dict[str, Any]:
    ca = folder / "ca.der"
    ca.write_bytes(authority.certificate.public_bytes(Encoding.DER))
    url = f"{scheme}://localhost:{server.server_address[1]}{path}"
    command = [MICROPYTHON, "-X", "heapsize=300k", str(BOARD), url, str(ca)]
    command += [str(length), str(drop_at)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


WHOLE = {"code": None, "sha256": hashlib.sha256(FILE).hexdigest(), "offset": len(FILE)}


def test_a_file_comes_over_verified_tls(tmp_path: Path, authority: Authority) -> None:
    with serving(authority.issue(tmp_path, "localhost")) as server:
        assert download(tmp_path, authority, server, "/to-file") == WHOLE
        assert server.requests == [("/to-file", None), ("/file", None)]


def test_it_goes_on_over_a_second_connection(tmp_path: Path, authority: Authority) -> None:
    with serving(authority.issue(tmp_path, "localhost")) as server:
        assert download(tmp_path, authority, server, "/file", drop_at=20_000) == WHOLE
        (_, first), (_, second) = server.requests
        assert first is None
        assert second is not None
        assert 20_000 <= int(second.removeprefix("bytes=").removesuffix("-")) < 24_096


@pytest.mark.parametrize(
    ("host", "days", "code"),
    [("elsewhere", 1, "tls-name"), ("localhost", -1, "tls-expired")],
)
def test_a_wrong_certificate_is_refused(
    tmp_path: Path, authority: Authority, host: str, days: int, code: str
) -> None:
    with serving(authority.issue(tmp_path, host, days=days)) as server:
        assert download(tmp_path, authority, server, "/file")["code"] == code
        assert server.requests == []


def test_a_certificate_of_another_ca_is_refused(tmp_path: Path, authority: Authority) -> None:
    with serving(Authority().issue(tmp_path, "localhost")) as server:
        assert download(tmp_path, authority, server, "/file")["code"] == "tls-ca"
        assert server.requests == []


def test_a_server_without_tls_is_refused(tmp_path: Path, authority: Authority) -> None:
    with serving(None) as server:
        assert download(tmp_path, authority, server, "/file")["code"].startswith("tls-")
        # The same server is read where the address says http, as on a bench.
        assert download(tmp_path, authority, server, "/file", scheme="http") == WHOLE


@pytest.mark.parametrize(
    ("path", "code"),
    [("/to-http", "http-redirect"), ("/to-other", "http-redirect"), ("/none", "http-status")],
)
def test_redirects_and_refusals(
    tmp_path: Path, authority: Authority, path: str, code: str
) -> None:
    with serving(authority.issue(tmp_path, "localhost")) as server:
        answer = download(tmp_path, authority, server, path)
        assert (answer["code"], answer["offset"]) == (code, 0)
        assert server.requests == [(path, None)]


def test_a_file_of_another_length_is_refused(tmp_path: Path, authority: Authority) -> None:
    with serving(authority.issue(tmp_path, "localhost")) as server:
        answer = download(tmp_path, authority, server, "/file", length=len(FILE) + 1)
        assert (answer["code"], answer["offset"]) == ("http-length", 0)
