# SPDX-License-Identifier: MIT
"""The one place that knows all wings, and wires them to a running agent.

What a board lacks (an identity, a file system that can be written) is logged with its code, and
the rest runs: a board that stays up can be helped.
"""

import json

from micropython import const

from agent import birth
from agent.board import Board
from agent.commands import Commands
from agent.errors import AgentError
from agent.identity import stored
from agent.link import wifi
from agent.link.clock import Clock
from agent.link.events import Events
from agent.link.session import Session
from agent.log import Log
from agent.monitor.heartbeat import Heartbeat
from agent.storage import files
from agent.storage.nvsmap import Nvs
from agent.supervisor import WATCHDOG_S, Supervisor
from agent.version import VERSION

_LINK_DEADLINE_S = const(45)
_HEARTBEAT_S = const(60)
_NTP = "pool.ntp.org"


class Runtime:
    def __init__(self):
        board = self.board = Board()
        self.log = Log(board.uptime_s)
        self.factory = Nvs(board, "fl_factory")
        self.state = Nvs(board, "fl_state")
        self.supervisor = Supervisor(board, self.log, self.state)
        self.development = self.state.get_int("dev") == 1
        self.session = None
        self.identity_error = ""
        try:
            files.make_folder("/fl")
        except AgentError as e:
            self.log.error("storage", e.code)
        self.identity = self._load_identity()
        server = self.factory.get("ntp")
        self.clock = Clock(board, self.log, self.state, server.decode() if server else _NTP)
        self.events = Events(self.log, self.clock)

    def _load_identity(self):
        try:
            identity = stored.load(self.factory)
        except AgentError as e:
            self.identity_error = e.code
            self.log.error("identity", e.code)
            return None
        if identity is None:
            self.identity_error = "identity-none"
            self.log.warning("identity", "this board was never provisioned: fleetling provision")
        return identity

    def _factory_settings(self):
        data = self.factory.get("conf")
        try:
            settings = json.loads(data) if data else {}
        except ValueError:
            settings = None
        if isinstance(settings, dict):
            return settings
        self.log.error("config", "factory-conf")
        return {}

    def _wire_link(self):
        supervisor = self.supervisor
        networks = wifi.parse(self.factory.get("wifi") or b"[]")
        self.wifi = wifi.Wifi(self.board, self.log, networks)
        session = Session(supervisor, self.identity, self.wifi, self.clock, self.events)
        self.session = session
        Commands(supervisor, session, self.clock)
        supervisor.command("info", self._info)
        session.on_connect(lambda: ("up/birth", birth.document(supervisor, self.identity)))
        supervisor.task("link", session.run, _LINK_DEADLINE_S)
        interval = self._factory_settings().get("heartbeat_s", _HEARTBEAT_S)
        heartbeat = Heartbeat(supervisor, session, self.wifi, interval)
        supervisor.task("health", heartbeat.run)

    async def _info(self, args):
        return birth.document(self.supervisor, self.identity)

    async def run(self):
        """Runs for ever."""
        boot = self.supervisor.boot
        self.log.info(
            "boot",
            "fleetling {} boot {} after {} {}".format(
                VERSION, boot["count"], boot["cause"], boot["why"]
            ),
        )
        if self.development:
            self.log.warning("boot", "development mode: no watchdog")
        else:
            self.board.start_watchdog(WATCHDOG_S)
        self.events.add("boot", boot=boot["count"], cause=boot["cause"], why=boot["why"])
        if self.identity:
            try:
                self._wire_link()
            except AgentError as e:
                self.identity_error = e.code
                self.log.error("link", e.code)
        await self.supervisor.run()

    def set_development(self, on):
        self.state.set_int("dev", 1 if on else 0)

    def summary(self):
        """Lines for a person at the REPL."""
        boot = self.supervisor.boot
        heap = self.board.heap()
        room = self.board.storage()
        if self.identity is None:
            who = "no identity ({})".format(self.identity_error)
            where = "-"
        else:
            who = self.identity.id
            where = "{}:{}".format(self.identity.host, self.identity.port)
        link = "not started"
        if self.session:
            state = "connected" if self.session.connected() else "not connected"
            link = "{}, {} connects, last error {}".format(
                state, self.session.connects, self.session.last_error or "none"
            )
        yield "fleetling {}  slot {}  {}".format(
            VERSION, birth.slot() or "-", self.board.describe()["firmware"]
        )
        yield "device    {}".format(who)
        yield "broker    {}  {}".format(where, link)
        yield "boot      {} after {} {}".format(boot["count"], boot["cause"], boot["why"])
        yield "uptime    {} s".format(self.board.uptime_s())
        yield "heap      {} free, {} used, largest block {}".format(
            heap["free"], heap["used"], heap["largest"]
        )
        yield "storage   {} of {} free".format(room["free"], room["size"])
        yield "events    {} waiting".format(self.events.waiting())
        yield "mode      {}".format("development" if self.development else "normal")
        for line in self.log.tail(5):
            yield "  " + line
