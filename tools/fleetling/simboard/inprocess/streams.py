# SPDX-License-Identifier: MIT
"""asyncio streams of the board, over virtual sockets: one class reads and writes, as there.

What MicroPython does and CPython does not: `open_connection` returns once TCP has decided, also
when it was refused; errors come at the first read or write; the TLS handshake runs there too;
`readexactly` raises EOFError; `drain` always lets others run.
"""

from __future__ import annotations

import types
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Protocol

from .tasks import Core, Suspend, Waiters

if TYPE_CHECKING:
    from .net import Net

__all__ = ["Socket", "Stream", "open_connection"]


class Socket(Protocol):
    """What a stream needs: a plain or a TLS socket; None means not now."""

    core: Core
    changed: Waiters
    peer: tuple[str, int]

    def recv(self, n: int) -> bytes | None: ...
    def send(self, data: bytes | bytearray | memoryview) -> int | None: ...
    def close(self) -> None: ...


_CHUNK = 4096


class Stream:
    def __init__(self, socket: Socket, extra: dict[str, Any] | None = None) -> None:
        self.s = socket
        self.e = extra or {"peername": socket.peer}
        self.out_buf = b""
        self._core = socket.core
        self._early = b""

    def get_extra_info(self, name: str) -> Any:
        return self.e[name]

    async def _turn(self) -> None:
        """Other tasks run before each access, as the poll of the real loop lets them."""
        await self._core.sleep_ms(0)

    def _change(self) -> Suspend:
        return Suspend(lambda: self.s.changed.add(self._core.current_task()))

    async def _recv(self, n: int) -> bytes:
        await self._turn()
        if self._early:
            data, self._early = self._early[:n], self._early[n:]
            return data
        while True:
            data_or_none = self.s.recv(n)
            if data_or_none is not None:
                return data_or_none
            await self._change()

    async def read(self, n: int = -1) -> bytes:
        if n >= 0:
            return await self._recv(n)
        parts: list[bytes] = []
        while True:
            part = await self._recv(_CHUNK)
            if not part:
                return b"".join(parts)
            parts.append(part)

    async def readinto(self, buf: bytearray | memoryview) -> int:
        data = await self._recv(len(buf))
        buf[: len(data)] = data
        return len(data)

    async def readexactly(self, n: int) -> bytes:
        parts = []
        while n:
            part = await self._recv(n)
            if not part:
                raise EOFError
            parts.append(part)
            n -= len(part)
        return b"".join(parts)

    async def readline(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            part = await self._recv(_CHUNK)
            if not part:
                break
            line += part
            at = line.find(b"\n") + 1
            if at:
                line, self._early = line[:at], line[at:] + self._early
        return line

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Sends what goes at once, and keeps the rest for `drain`."""
        data = bytes(data)
        if not self.out_buf:
            data = data[self.s.send(data) or 0 :]
        self.out_buf += data

    async def drain(self) -> None:
        await self._turn()
        while self.out_buf:
            sent = self.s.send(self.out_buf)
            if sent:
                self.out_buf = self.out_buf[sent:]
            else:
                await self._change()

    def close(self) -> None:
        """On the board, too, the socket is closed by `wait_closed`, and by this does nothing."""

    # A generator, as all coroutines of the board are: one that a lost life leaves behind is no
    # matter for CPython's warnings.
    @types.coroutine
    def wait_closed(self) -> Generator[None, None, None]:
        self.s.close()
        yield from ()

    aclose = wait_closed

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.wait_closed()


async def open_connection(
    core: Core, net: Net, host: str, port: int, ssl: Any, server_hostname: str | None
) -> tuple[Stream, Stream]:
    """The board's `asyncio.open_connection`; `ssl` is one of its own SSLContext objects."""
    raw = net.connect(core, net.resolve(core, host), port)
    while not raw.connected:
        await Suspend(lambda: raw.changed.add(core.current_task()))
    socket: Socket = raw
    if ssl:
        socket = ssl.wrap(raw, server_hostname or host)
    stream = Stream(socket)
    return stream, stream
