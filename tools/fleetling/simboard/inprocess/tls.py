# SPDX-License-Identifier: MIT
"""The board's `ssl` and `tls`: SSLContext, and sockets with the virtual TLS of `tls_records`.

Errors are those of MicroPython over mbed TLS (docs/hardware.md): certificate trouble is a
ValueError with mbed TLS's text, raised from the read or write that meets it.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

from . import certs
from .errors import ERRNO, BoardError
from .link import BoardSocket
from .tasks import Core
from .tls_records import ALERT, DATA, HANDSHAKE, MAX_PLAIN, NotTls, Records, frame, pack, unpack

__all__ = ["TlsSocket", "make_ssl"]

CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED = 0, 1, 2
PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER = 0, 1

_INVALID_RECORD = (-29184, "MBEDTLS_ERR_SSL_INVALID_RECORD")
# One step of the handshake, the curve arithmetic, holds everything for most of a second.
_HANDSHAKE_US = 900_000


class SSLContext:
    """Holds what `load_*` and `verify_mode` say; refuses the files that the board has not."""

    core: Core
    now_unix: Callable[[], int]
    random: Callable[[int], bytes]

    def __init__(self, protocol: int) -> None:
        self.protocol = protocol
        self.verify_mode = CERT_REQUIRED if protocol == PROTOCOL_TLS_CLIENT else CERT_NONE
        self.ca: Any = None
        self.chain: list[bytes] = []
        self.key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None

    def load_verify_locations(self, cafile: str | None = None, cadata: Any = None) -> None:
        if cafile is not None:
            raise BoardError(ERRNO["ENOENT"])
        try:
            self.ca = certs.load_chain([bytes(cadata)])[0]
        except ValueError:
            raise ValueError("invalid cert") from None

    def load_cert_chain(self, cert: Any, key: Any) -> None:
        try:
            loaded = load_der_private_key(bytes(key), None)
        except (ValueError, TypeError):
            raise ValueError("invalid key") from None
        if not isinstance(loaded, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ValueError("invalid key")
        try:
            certs.load_chain([bytes(cert)])
        except ValueError:
            raise ValueError("invalid cert") from None
        self.key = loaded
        self.chain = [bytes(cert)]

    def wrap(self, raw: BoardSocket, server_hostname: str) -> TlsSocket:
        return TlsSocket(self, raw, server_hostname)


class TlsSocket:
    """A client's socket: the handshake goes on inside `recv` and `send` until it is done."""

    def __init__(self, context: SSLContext, raw: BoardSocket, name: str) -> None:
        self.core = raw.core
        self.changed = raw.changed
        self.peer = raw.peer
        self._context = context
        self._raw = raw
        self._name = name
        self._records = Records()
        self._outbox = b""
        self._plain = bytearray()
        self._nonce = b""
        self._open = False
        self._eof = False

    def recv(self, n: int) -> bytes | None:
        if not self.ready():
            return None
        if not self._plain and not self._eof:
            self._flush()
            self._fetch()
        data = bytes(self._plain[:n])
        del self._plain[:n]
        return data if data or self._eof else None

    def send(self, data: bytes | bytearray | memoryview) -> int | None:
        if not self.ready() or not self._flush():
            return None
        part = bytes(data[:MAX_PLAIN])
        self._outbox = frame(DATA, part)
        self._flush()
        return len(part)

    def close(self) -> None:
        self._raw.close()

    # --- records

    def _flush(self) -> bool:
        """Whether everything framed so far is on its way."""
        while self._outbox:
            sent = self._raw.send(self._outbox)
            if not sent:
                return False
            self._outbox = self._outbox[sent:]
        return True

    def _fetch(self) -> list[bytes]:
        """Takes in what has arrived; returns the handshake messages among it."""
        handshakes = []
        while not self._eof:
            data = self._raw.recv(4096)
            if data is None:
                break
            self._eof = not data
            try:
                records = self._records.feed(data)
            except NotTls:
                raise OSError(*_INVALID_RECORD) from None
            for kind, payload in records:
                if kind == HANDSHAKE:
                    handshakes.append(payload)
                elif kind == DATA:
                    self._plain += payload
                elif kind == ALERT:
                    self._raw.fail(ERRNO["ECONNRESET"])
        return handshakes

    # --- the handshake

    def ready(self) -> bool:
        """Goes on with the handshake; whether that is over."""
        self.core.life.check()
        if self._open:
            return True
        if not self._nonce:
            self._nonce = self._context.random(32)
            self._outbox = frame(HANDSHAKE, pack(self._nonce, self._name.encode()))
        if not self._flush():
            return False
        for message in self._fetch():
            if message:
                self._answer(unpack(message))
            else:
                self._open = True
        if self._eof and not self._open:
            raise BoardError(ERRNO["ECONNRESET"])
        self._flush()
        return self._open

    def _answer(self, fields: list[bytes]) -> None:
        proof, server_nonce, *ders = fields
        self.core.life.spend(_HANDSHAKE_US)
        context = self._context
        if context.verify_mode == CERT_REQUIRED:
            chain = certs.load_chain(ders)
            found = certs.problems(chain, context.ca, self._name, context.now_unix())
            if not found and not certs.signed_by(chain[0], proof, self._nonce):
                found = [certs.NOT_TRUSTED]
            if found:
                self._raw.close()
                raise ValueError("".join(f"\n{message}\n" for message in found))
        mine = b""
        if context.key is not None:
            mine = certs.sign(context.key, server_nonce)
        self._outbox += frame(HANDSHAKE, pack(mine, *context.chain))


def make_ssl(
    core: Core, now_unix: Callable[[], int], random: Callable[[int], bytes]
) -> ModuleType:
    """The module object, for `ssl` and for `tls`. `now_unix` is the time the board believes."""
    module = ModuleType("ssl")
    bound = {"core": core, "now_unix": staticmethod(now_unix), "random": staticmethod(random)}
    module.__dict__.update(
        CERT_NONE=CERT_NONE,
        CERT_OPTIONAL=CERT_OPTIONAL,
        CERT_REQUIRED=CERT_REQUIRED,
        PROTOCOL_TLS_CLIENT=PROTOCOL_TLS_CLIENT,
        PROTOCOL_TLS_SERVER=PROTOCOL_TLS_SERVER,
        MBEDTLS_VERSION="Mbed TLS 3.6.2",
        SSLContext=type("SSLContext", (SSLContext,), bound),
    )
    return module
