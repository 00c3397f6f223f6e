# SPDX-License-Identifier: MIT
"""The virtual network: hosts by name and port, each an asyncio handler, with faults to order.

    net = Net()
    broker = net.host("broker.lan", 8883, handle, tls=ServerTls(chain, key, client_ca=ca))
    broker.refuse = True          # faults may change at any time

A handler is `async def handle(reader, writer)` with asyncio's own streams, on virtual time. The
network is the board's to reach while its Wi-Fi is connected; meanwhile connections stall.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from .clock import Clock
from .errors import ERRNO, BoardError
from .host import Handler, Host
from .link import BoardSocket, connect, orphan
from .loop import HostLoop
from .tasks import Core
from .tls_server import ServerTls

__all__ = ["Handler", "Host", "Net"]

# getaddrinfo blocks the board: an answer takes this long, and none is given up after that.
_DNS_US = 30_000
_DNS_GIVE_UP_US = 4_000_000
_EAI_FAIL = -202


class Net:
    """The world outside of the board: its clock, its hosts, and the loop they run on."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.loop = HostLoop(self.clock)  # type: ignore[abstract]  # what asyncio may leave out
        self.hosts: list[Host] = []
        self.radio: Callable[[], bool] = lambda: False
        self.open_sockets: list[BoardSocket] = []

    def host(
        self,
        name: str,
        port: int,
        handler: Handler,
        *,
        tls: ServerTls | None = None,
        ip: str | None = None,
    ) -> Host:
        """Adds a server; a name that is an address is its own address."""
        known = [h.ip for h in self.hosts if h.name == name]
        if ip is None:
            ip = name if _is_address(name) else (known or [f"10.0.0.{len(self.hosts) + 1}"])[0]
        host = self._host(name, port, handler, tls, ip)
        self.hosts.append(host)
        return host

    # --- from the board

    def resolve(self, core: Core, name: str) -> str:
        """The address, after the time that blocking name resolution takes.

        Raises:
            OSError: -202, as lwIP has it, when there is no link or no such name.
        """
        if _is_address(name):
            return name
        clock = core.life.clock
        for host in self.hosts:
            if host.name == name and not host.unknown and self.radio():
                core.life.sleep_until(clock.now_us + _DNS_US)
                return host.ip
        if self.radio():
            core.life.sleep_until(clock.now_us + _DNS_GIVE_UP_US)
        raise BoardError(_EAI_FAIL)

    def connect(self, core: Core, ip: str, port: int) -> BoardSocket:
        """Begins a connection, without waiting for it.

        Raises:
            OSError: EHOSTUNREACH without Wi-Fi.
        """
        core.life.check()
        if not self.radio():
            raise BoardError(ERRNO["EHOSTUNREACH"])
        host = None
        for candidate in self.hosts:
            if candidate.ip == ip and (host is None or candidate.port == port):
                host = candidate
        if host is not None and host.port != port:
            return self._closed_port(core, host, ip, port)
        return connect(core, host, (ip, port), self.open_sockets)

    def _closed_port(self, core: Core, host: Host, ip: str, port: int) -> BoardSocket:
        closed = self._host(host.name, port, host.handler, None, ip)
        closed.refuse = True
        closed.path = host.path
        return connect(core, closed, (ip, port), self.open_sockets)

    def _host(
        self, name: str, port: int, handler: Handler, tls: ServerTls | None, ip: str
    ) -> Host:
        return Host(self.loop, lambda: self.radio(), name, port, handler, tls, ip)

    def board_gone(self) -> None:
        """The board has lost power or was reset: its connections are half open from now on."""
        for socket in self.open_sockets:
            orphan(socket)
        self.open_sockets.clear()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
