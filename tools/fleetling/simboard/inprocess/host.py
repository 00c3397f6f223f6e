# SPDX-License-Identifier: MIT
"""A server in the virtual network, and what is wrong with the way to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from .loop import HostLoop
from .pipe import Path
from .tls_server import ServerTls, TlsServerProtocol

__all__ = ["Handler", "Host"]

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Host:
    """A server that boards can reach, and what is wrong with the way to it.

    Attributes:
        refuse: Connections are refused.
        black_hole: Nothing arrives, in neither direction; existing connections stall.
        drop_after: Every connection is reset after that many bytes to the board; None is never.
        unknown: The name does not resolve.
        latency: One way, in seconds.
        bytes_per_s: In each direction.
        connections: How many have been opened so far.
    """

    def __init__(
        self,
        loop: HostLoop,
        radio: Callable[[], bool],
        name: str,
        port: int,
        handler: Handler,
        tls: ServerTls | None,
        ip: str,
    ) -> None:
        """`radio()` is whether boards are on the network at all."""
        self.loop = loop
        self.radio = radio
        self.name = name
        self.port = port
        self.ip = ip
        self.tls = tls
        self.handler = handler
        self.refuse = False
        self.black_hole = False
        self.unknown = False
        self.drop_after: int | None = None
        self.connections = 0
        # A MicroPython socket takes in 74 to 91 KB/s (docs/hardware.md).
        self.path = Path(lambda: radio() and not self.black_hole, 10_000, 80_000)

    @property
    def latency(self) -> float:
        return self.path.latency_us / 1e6

    @latency.setter
    def latency(self, seconds: float) -> None:
        self.path.latency_us = round(seconds * 1e6)

    @property
    def bytes_per_s(self) -> int:
        return self.path.bytes_per_s

    @bytes_per_s.setter
    def bytes_per_s(self, rate: int) -> None:
        self.path.bytes_per_s = rate

    def make_protocol(self) -> asyncio.Protocol:
        """The server side of a new connection."""
        reader = asyncio.StreamReader(loop=self.loop)
        protocol = asyncio.StreamReaderProtocol(reader, self._serve, loop=self.loop)
        if self.tls is None:
            return protocol
        return TlsServerProtocol(self.tls, protocol)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A server's own mistakes surface in the test; connections that broke do not."""
        try:
            await self.handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
