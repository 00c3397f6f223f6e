# SPDX-License-Identifier: MIT
"""The board's `socket` module: TCP clients that hold up everything while they wait.

Reads and writes are of a stream, as there: `read(n)` waits for all n bytes or the end. A time-out
is OSError(ETIMEDOUT); without one a wait ends when the watchdog does.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from .errors import ERRNO, BoardError
from .link import BoardSocket
from .net import Net
from .tasks import Core
from .tls import SSLContext, TlsSocket

__all__ = ["BlockingSocket", "make_socket", "wrap_socket"]

_LOOK_US = 10_000
_PIECE = 4096
T = TypeVar("T")


class BlockingSocket:
    def __init__(self, core: Core, net: Net) -> None:
        self._core = core
        self._net = net
        self._timeout: float | None = None
        self.inner: BoardSocket | TlsSocket | None = None

    def _until(self, step: Callable[[], T | None]) -> T | None:
        """What `step()` gives once that is not None; None at once where nothing may block."""
        life = self._core.life
        begun = life.clock.now_us
        while True:
            found = step()
            if found is not None or self._timeout == 0:
                return found
            if self._timeout is not None and life.clock.now_us - begun >= self._timeout * 1e6:
                raise BoardError(ERRNO["ETIMEDOUT"])
            life.sleep_until(life.clock.now_us + _LOOK_US)

    def _open(self) -> BoardSocket | TlsSocket:
        if self.inner is None:
            raise BoardError(ERRNO["ENOTCONN"])
        return self.inner

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds

    def setblocking(self, on: bool) -> None:
        self._timeout = None if on else 0

    def connect(self, address: tuple[str, int]) -> None:
        raw = self._net.connect(self._core, *address)
        self.inner = raw
        self._until(lambda: True if raw.connected else None)
        raw.send(b"")  # raises what it failed with

    def shake_hands(self, context: SSLContext, name: str) -> None:
        raw = self._open()
        assert isinstance(raw, BoardSocket)
        tls = context.wrap(raw, name)
        self.inner = tls
        self._until(lambda: True if tls.ready() else None)

    def recv(self, count: int) -> bytes | None:
        inner = self._open()
        return self._until(lambda: inner.recv(count))

    def read(self, count: int = -1) -> bytes | None:
        out = b""
        while count < 0 or len(out) < count:
            data = self.recv(_PIECE if count < 0 else count - len(out))
            if not data:
                return out if out or data is not None else None
            out += data
        return out

    def send(self, data: Any) -> int:
        inner = self._open()
        return self._until(lambda: inner.send(data)) or 0

    def write(self, data: Any, count: int | None = None) -> int:
        left = bytes(data)[:count]
        size = len(left)
        while left:
            left = left[self.send(left) :]
        return size

    def close(self) -> None:
        if self.inner is not None:
            self.inner.close()


def wrap_socket(
    context: SSLContext, sock: BlockingSocket, *, server_hostname: str = ""
) -> BlockingSocket:
    """`SSLContext.wrap_socket`, which ends with the handshake."""
    sock.shake_hands(context, server_hostname)
    return sock


def make_socket(core: Core, net: Net) -> ModuleType:
    """The module object for one life."""

    def getaddrinfo(host: str, port: int) -> list[tuple[Any, ...]]:
        return [(2, 1, 0, "", (net.resolve(core, host), port))]

    module = ModuleType("socket")
    module.__dict__.update(
        AF_INET=2,
        SOCK_STREAM=1,
        getaddrinfo=getaddrinfo,
        socket=lambda *kind: BlockingSocket(core, net),
    )
    return module
