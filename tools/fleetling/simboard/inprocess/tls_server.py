# SPDX-License-Identifier: MIT
"""The server's end of the virtual TLS: between the transport and the handler's streams."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key

from . import certs
from .tls_records import ALERT, DATA, HANDSHAKE, MAX_PLAIN, NotTls, Records, frame, pack, unpack

__all__ = ["ServerTls", "TlsServerProtocol"]


class ServerTls:
    """What a server proves and demands.

    Args:
        chain: Certificates in DER, the server's own first.
        key: Its private key in DER (SEC1, PKCS#8 or PKCS#1).
        client_ca: DER of the CA that must have signed the client's certificate; None: no matter.
        unix: The server's own clock, for the client's certificate; None does not look.
    """

    def __init__(
        self,
        chain: list[bytes],
        key: bytes,
        client_ca: bytes | None = None,
        unix: int | None = None,
    ) -> None:
        loaded = load_der_private_key(key, None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise TypeError("EC and RSA keys only")
        self.chain = chain
        self.key = loaded
        self.client_ca = None if client_ca is None else certs.load_chain([client_ca])[0]
        self.unix = unix
        self.handshakes = 0

    def client_common_name(self, fields: list[bytes], nonce: bytes) -> str | None:
        """The name in a client's good certificate, "" where none is asked for, None to refuse."""
        if self.client_ca is None:
            return ""
        try:
            chain = certs.load_chain(fields[1:])
        except ValueError:
            return None
        if not chain or not certs.signed_by(chain[0], fields[0], nonce):
            return None
        moment = self.unix
        if moment is None:
            moment = int(chain[0].not_valid_before_utc.timestamp())
        if certs.problems(chain, self.client_ca, None, moment):
            return None
        return certs.common_name(chain[0])


class _PlainSide(asyncio.Transport):
    """What the handler's streams write to."""

    def __init__(self, tls: TlsServerProtocol, raw: asyncio.Transport, peer_name: str) -> None:
        super().__init__()
        self._tls = tls
        self._raw = raw
        self._peer_name = peer_name

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "peer_common_name":
            return self._peer_name
        return self._raw.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        for start in range(0, len(view), MAX_PLAIN):
            self._raw.write(frame(DATA, view[start : start + MAX_PLAIN]))

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self._raw.close()

    def abort(self) -> None:
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._raw.resume_reading()


class TlsServerProtocol(asyncio.Protocol):
    """Runs the handshake, then hands plain data to `inner`. The handler sees a connection only
    when it is trusted; `writer.get_extra_info("peer_common_name")` says who it is."""

    def __init__(self, tls: ServerTls, inner: asyncio.Protocol) -> None:
        self._tls = tls
        self._inner = inner
        self._records = Records()
        self._raw: asyncio.Transport | None = None
        self._nonce = b""
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._raw = transport

    def data_received(self, data: bytes) -> None:
        assert self._raw is not None
        try:
            for kind, payload in self._records.feed(data):
                if kind == DATA and self._open:
                    self._inner.data_received(payload)
                elif kind == HANDSHAKE and not self._open:
                    self._handshake(unpack(payload))
                else:
                    raise NotTls
        except NotTls:
            self._raw.abort()

    def _handshake(self, fields: list[bytes]) -> None:
        assert self._raw is not None
        if not self._nonce:
            proof = certs.sign(self._tls.key, fields[0])
            self._nonce = hashlib.sha256(b"server" + fields[0]).digest()
            hello = pack(proof, self._nonce, *self._tls.chain)
            self._raw.write(frame(HANDSHAKE, hello))
            return
        name = self._tls.client_common_name(fields, self._nonce)
        if name is None:
            self._raw.write(frame(ALERT, b"\x02\x2a"))
            self._raw.abort()
            return
        self._open = True
        self._tls.handshakes += 1
        self._raw.write(frame(HANDSHAKE, b""))
        self._inner.connection_made(_PlainSide(self, self._raw, name))

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._open else False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._open:
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
