# SPDX-License-Identifier: MIT
"""One virtual TCP connection: a socket on the board's side, an asyncio transport on the host's."""

from __future__ import annotations

import asyncio

from .errors import ERRNO, BoardError
from .host import Host
from .pipe import Pipe
from .tasks import Core, Waiters

__all__ = ["BoardSocket", "HostTransport", "connect", "orphan"]

# lwIP's TCP window, and its send buffer, in the ESP32 build: the narrow end both ways.
_WINDOW = 5744


class BoardSocket:
    """The board's end. `recv` and `send` never block: None means not now."""

    def __init__(self, core: Core, host: Host | None, peer: tuple[str, int]) -> None:
        self.changed = Waiters(core)
        self.core = core
        self.host = host
        self.peer = peer
        self.connected = False
        self.closed = False
        self.outgoing: Pipe | None = None
        self.incoming: Pipe | None = None
        self._arrived = bytearray()
        self._eof = False
        self._error = 0
        self._received = 0

    def recv(self, n: int) -> bytes | None:
        """Up to `n` bytes, b"" at the end; OSError once the connection is broken."""
        self._check_open()
        if self._arrived:
            data = bytes(self._arrived[:n])
            del self._arrived[:n]
            assert self.incoming is not None
            self.incoming.consumed(len(data))
            return data
        if self._error:
            raise BoardError(self._error)
        return b"" if self._eof else None

    def send(self, data: bytes | bytearray | memoryview) -> int | None:
        self._check_open()
        if self._error:
            raise BoardError(self._error)
        if not self.connected or self.outgoing is None:
            return None
        return self.outgoing.send(data) or None

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        if self.outgoing is not None:
            self.outgoing.after(self._tell_closed)
        self.changed.wake_all()

    def _check_open(self) -> None:
        self.core.life.check()
        if self.closed:
            raise BoardError(ERRNO["EBADF"])

    # --- what happens at this end

    def fail(self, number: int) -> None:
        """The connection breaks; what has arrived can still be read."""
        if not self._error:
            self._error = number
        self.connected = True
        self.changed.wake_all()

    def on_connected(self) -> None:
        self.connected = True
        self.changed.wake_all()

    def on_data(self, data: bytes) -> None:
        limit = self.host.drop_after if self.host is not None else None
        if limit is not None and self._received + len(data) >= limit:
            data = data[: max(0, limit - self._received)]
            self._arrived += data
            self._received += len(data)
            self._cut()
            return
        self._received += len(data)
        self._arrived += data
        self.changed.wake_all()

    def on_eof(self) -> None:
        self._eof = True
        self.changed.wake_all()

    def _cut(self) -> None:
        self.transport.lose(ConnectionResetError())
        self.fail(ERRNO["ECONNRESET"])

    def _tell_closed(self) -> None:
        self.transport.on_board_closed()

    transport: HostTransport


class HostTransport(asyncio.Transport):
    """The host's end, for any asyncio protocol."""

    def __init__(self, host: Host, board: BoardSocket, protocol: asyncio.Protocol) -> None:
        super().__init__({"peername": ("10.0.0.99", 50000), "socket": None})
        self._host = host
        self._board = board
        self._protocol = protocol
        self._buffer = bytearray()
        self._inbox = bytearray()
        self._paused_reading = False
        self._paused_writing = False
        self._eof_wanted = False
        self._lost = False
        self._high = 65536
        self.orphaned = False

    # --- from the handler

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._lost or self._eof_wanted:
            return
        self._buffer += data
        self.pump()
        if len(self._buffer) > self._high and not self._paused_writing:
            self._paused_writing = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        self._eof_wanted = True
        self.pump()

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.write_eof()

    def abort(self) -> None:
        """A reset, which overtakes nothing that is already on the way."""
        self._buffer.clear()
        assert self._board.incoming is not None
        self._board.incoming.after(lambda: self._board.fail(ERRNO["ECONNRESET"]))
        self.lose(None)

    def is_closing(self) -> bool:
        return self._eof_wanted or self._lost

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 65536 if high is None else high

    def pause_reading(self) -> None:
        self._paused_reading = True

    def resume_reading(self) -> None:
        self._paused_reading = False
        self._read_inbox()

    def is_reading(self) -> bool:
        return not self._paused_reading

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    # --- from the pipes

    def pump(self) -> None:
        """Hands on what the window takes; a board that has forgotten the connection answers with
        a reset, once it can be reached at all."""
        if self.orphaned:
            if self._host.radio() and (self._buffer or self._eof_wanted):
                self.lose(ConnectionResetError())
            return
        pipe = self._board.incoming
        if pipe is None or self._lost:
            return
        del self._buffer[: pipe.send(self._buffer)]
        if self._paused_writing and not self._buffer:
            self._paused_writing = False
            self._protocol.resume_writing()
        if self._eof_wanted and not self._buffer:
            pipe.after(self._board.on_eof)
            self.lose(None)

    def on_data(self, data: bytes) -> None:
        if not self._lost:
            self._inbox += data
            self._read_inbox()

    def _read_inbox(self) -> None:
        if self._inbox and not self._paused_reading:
            data = bytes(self._inbox)
            self._inbox.clear()
            self._protocol.data_received(data)
            assert self._board.outgoing is not None
            self._board.outgoing.consumed(len(data))

    def on_board_closed(self) -> None:
        if not self._lost and not self._protocol.eof_received():
            self.close()

    def lose(self, error: Exception | None) -> None:
        """The connection is over for the host."""
        if not self._lost:
            self._lost = True
            if self._paused_writing:
                self._protocol.resume_writing()
            self._host.loop.call_soon(self._protocol.connection_lost, error)


def connect(
    core: Core, host: Host | None, peer: tuple[str, int], opened: list[BoardSocket]
) -> BoardSocket:
    """Begins a connection; it opens, which puts it into `opened`, fails or hangs a round trip
    later. Without a `host` nobody has that address, and packets vanish."""
    socket = BoardSocket(core, host, peer)
    if host is None:
        return socket
    clock = core.life.clock
    path = host.path

    def arrive() -> None:
        if not path.up():
            clock.call_at(clock.now_us + 1_000_000, arrive)
            return
        if host.refuse:
            # lwIP reports the RST that answers a SYN as a reset.
            clock.call_at(clock.now_us + path.latency_us, lambda: socket.fail(ERRNO["ECONNRESET"]))
            return
        host.connections += 1
        protocol = host.make_protocol()
        transport = HostTransport(host, socket, protocol)
        socket.transport = transport
        socket.outgoing = Pipe(clock, path, _WINDOW, transport.on_data, wake)
        socket.incoming = Pipe(clock, path, _WINDOW, socket.on_data, transport.pump)
        opened.append(socket)
        host.loop.call_soon(protocol.connection_made, transport)
        socket.incoming.after(socket.on_connected)

    def wake() -> None:
        socket.changed.wake_all()

    clock.call_at(clock.now_us + path.latency_us, arrive)
    return socket


def orphan(socket: BoardSocket) -> None:
    """The board is gone without a word; the host will notice only when it sends."""
    socket.closed = True
    for pipe in (socket.incoming, socket.outgoing):
        if pipe is not None:
            pipe.close()
    if hasattr(socket, "transport"):
        socket.transport.orphaned = True
