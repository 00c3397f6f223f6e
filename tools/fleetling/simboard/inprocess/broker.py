# SPDX-License-Identifier: MIT
"""A small MQTT 3.1.1 broker over asyncio streams, for simulations on virtual time.

    broker = Broker()
    net.host("broker.lan", 8883, broker.door(allow), tls=ServerTls(chain, key, client_ca=ca))
    broker.listeners.append(seen.append)
    broker.publish("fleetling/v1/dev-1/down/command", b"{}")

QoS 0 and 1, retained messages, last wills, takeover, kept sessions, keep-alive, rules by user. A
SUBSCRIBE with QoS 2 is granted 1; a PUBLISH with QoS 2 ends the connection. What a broker does
besides (bridges, $SYS, shared subscriptions) is left out: tests of those need mosquitto.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Literal

from .broker_wire import (
    Connect,
    Fields,
    Kind,
    Message,
    ProtocolError,
    encode,
    matches,
    publish_packet,
    read_packet,
    valid_filter,
    valid_topic,
)

__all__ = ["Action", "Broker", "Login", "Message", "Rule"]

Action = Literal["subscribe", "read", "write"]
# allow(user, action, topic): "subscribe" is asked with the filter, "read" with the topic of each
# message on its way to the user, "write" with that of each from it. A denied write is
# acknowledged and dropped, as mosquitto does (3.3.5).
Rule = Callable[[str, Action, str], bool]
# login(user, password) for connections without a certificate.
Login = Callable[[str | None, bytes | None], bool]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_LOGIN_S = 10
_WINDOW = 20  # messages with QoS 1 that wait for one client's PUBACK
_QUEUE = 1000  # and behind them; what comes then is dropped
_BACKLOG = 1 << 20  # bytes that a client may leave unread before QoS 0 is dropped

_ACCEPTED, _BAD_LEVEL, _BAD_ID, _BAD_LOGIN, _NOT_ALLOWED = 0, 1, 2, 4, 5


def _anything(user: str, action: Action, topic: str) -> bool:
    return True


def _anyone(user: str | None, password: bytes | None) -> bool:
    return True


class _Session:
    """What a client has subscribed to and not yet acknowledged; `writer` while it is here."""

    def __init__(self, client_id: str, user: str) -> None:
        self.client_id = client_id
        self.user = user
        self.allow: Rule = _anything
        self.clean = True
        self.subscriptions: dict[str, int] = {}
        self.unacknowledged: dict[int, tuple[Message, bool]] = {}
        self.queue: deque[tuple[Message, bool]] = deque()
        self.writer: asyncio.StreamWriter | None = None
        self.will: Message | None = None
        self._last_id = 0

    def send(self, data: bytes) -> bool:
        if self.writer is None or self.writer.is_closing():
            return False
        self.writer.write(data)
        return True

    def deliver(self, message: Message, qos: int, retain: bool) -> bool:
        """Sends or queues a message; False when it had to be dropped."""
        if not qos:
            full = self.writer is None or self.writer.transport.get_write_buffer_size() > _BACKLOG
            return not full and self.send(publish_packet(message, 0, retain))
        if len(self.queue) >= _QUEUE:
            return False
        self.queue.append((message, retain))
        self.advance()
        return True

    def advance(self) -> None:
        """Sends from the queue what the window has room for."""
        while self.queue and self.writer and len(self.unacknowledged) < _WINDOW:
            message, retain = self.queue.popleft()
            while True:
                self._last_id = self._last_id % 0xFFFF + 1
                if self._last_id not in self.unacknowledged:
                    break
            self.unacknowledged[self._last_id] = (message, retain)
            self.send(publish_packet(message, 1, retain, self._last_id))

    def resume(self) -> None:
        """Sends again what an earlier connection left unacknowledged (4.4)."""
        for number, (message, retain) in self.unacknowledged.items():
            self.send(publish_packet(message, 1, retain, number, dup=True))
        self.advance()


class Broker:
    """All clients, sessions and retained messages.

    Attributes:
        retained: By topic.
        listeners: Called with each message that the rules let in, wills too.
        denied: The last (user, action, topic) that rules refused.
        dropped: Messages that found a client's queue full.
    """

    def __init__(self) -> None:
        self.retained: dict[str, Message] = {}
        self.listeners: list[Callable[[Message], None]] = []
        self.denied: deque[tuple[str, Action, str]] = deque(maxlen=100)
        self.dropped = 0
        self._sessions: dict[str, _Session] = {}
        self._anonymous = 0

    # --- what tests use

    def door(self, allow: Rule = _anything, login: Login = _anyone) -> Handler:
        """A handler of connections, for `asyncio.start_server` or `Net.host`.

        The user is the common name of the client's certificate where the virtual TLS has one,
        otherwise the user name in CONNECT, which `login` has to accept.
        """

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await self._serve(reader, writer, allow, login)
            finally:
                writer.close()

        return handle

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        """A message of the test's own; no rule holds for it."""
        if not valid_topic(topic):
            raise ValueError(topic)
        self._spread(Message(topic, payload, qos, retain))

    def clients(self) -> list[str]:
        """Ids of who is connected."""
        return [s.client_id for s in self._sessions.values() if s.writer is not None]

    def drop(self, client_id: str) -> None:
        """Cuts a client off; its last will is sent."""
        self._leave(self._sessions[client_id])

    def restart(self) -> None:
        """As if the process ended and another began on the same store: every connection is cut,
        no will is sent, retained messages and kept sessions stay."""
        for session in list(self._sessions.values()):
            session.will = None
            self._leave(session)

    # --- one connection

    async def _serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        allow: Rule,
        login: Login,
    ) -> None:
        session = None
        try:
            async with asyncio.timeout(_LOGIN_S):
                kind, _, fields = await read_packet(reader)
            if kind is not Kind.CONNECT:
                return
            connect = Connect.parse(fields)
            session = self._enter(connect, writer, allow, login)
            if session is None:
                await writer.drain()
                return
            patience_s = connect.keep_alive_s * 1.5 or None  # 3.1.2.10
            while True:
                async with asyncio.timeout(patience_s):
                    kind, flags, fields = await read_packet(reader)
                if kind is Kind.DISCONNECT:
                    fields.end()
                    session.will = None if session.writer is writer else session.will
                    return
                if session.writer is not writer:
                    return
                self._take(session, kind, flags, fields)
                await writer.drain()
        except (ProtocolError, TimeoutError, OSError, asyncio.IncompleteReadError):
            pass  # each ends the connection, and with it goes the will
        finally:
            if session is not None and session.writer is writer:
                self._leave(session)

    def _enter(
        self, connect: Connect, writer: asyncio.StreamWriter, allow: Rule, login: Login
    ) -> _Session | None:
        """Answers CONNECT; None when the client was refused."""
        name: str = writer.get_extra_info("peer_common_name") or ""
        code = _ACCEPTED
        if not connect.level_known:
            code = _BAD_LEVEL
        elif not connect.client_id and not connect.clean:
            code = _BAD_ID
        elif not name and not login(connect.user, connect.password):
            code = _NOT_ALLOWED if connect.user is None else _BAD_LOGIN
        if code:
            writer.write(encode(Kind.CONNACK, bytes([0, code])))
            return None
        client_id = connect.client_id
        if not client_id:
            self._anonymous += 1
            client_id = f"anonymous-{self._anonymous}"
        user = name or connect.user or ""
        kept = self._sessions.get(client_id)
        if kept is not None and kept.writer is not None:
            self._leave(kept)  # takeover (3.1.4)
        kept = self._sessions.get(client_id)
        present = kept is not None and not connect.clean and kept.user == user
        session = kept if kept is not None and present else _Session(client_id, user)
        session.allow = allow
        session.clean = connect.clean
        session.will = connect.will
        session.writer = writer
        self._sessions[client_id] = session
        session.send(encode(Kind.CONNACK, bytes([present, _ACCEPTED])))
        session.resume()
        return session

    def _leave(self, session: _Session) -> None:
        """Ends a client's connection, with its last will unless it took leave."""
        writer, session.writer = session.writer, None
        will, session.will = session.will, None
        if writer is not None:
            writer.close()
        if session.clean and self._sessions.get(session.client_id) is session:
            del self._sessions[session.client_id]
        if will is not None and self._allowed(session, "write", will.topic):
            self._spread(will)

    def _take(self, session: _Session, kind: Kind, flags: int, fields: Fields) -> None:
        if kind is Kind.PUBLISH:
            self._take_message(session, flags, fields)
        elif kind is Kind.PUBACK:
            session.unacknowledged.pop(fields.packet_id(), None)
            session.advance()
        elif kind is Kind.SUBSCRIBE:
            self._subscribe(session, fields)
        elif kind is Kind.UNSUBSCRIBE:
            number = fields.packet_id()
            session.subscriptions.pop(fields.text(), None)
            while fields.more():
                session.subscriptions.pop(fields.text(), None)
            session.send(encode(Kind.UNSUBACK, number.to_bytes(2, "big")))
        elif kind is Kind.PINGREQ:
            session.send(encode(Kind.PINGRESP, b""))
        else:
            raise ProtocolError(f"{kind.name} from a client")
        fields.end()

    def _take_message(self, session: _Session, flags: int, fields: Fields) -> None:
        qos = flags >> 1 & 3
        if qos > 1 or (not qos and flags & 8):
            raise ProtocolError("QoS (3.3.1)")
        topic = fields.text()
        if not valid_topic(topic):
            raise ProtocolError("topic (3.3.2.1)")
        number = fields.packet_id() if qos else 0
        message = Message(topic, fields.rest(), qos, bool(flags & 1), session.client_id)
        if self._allowed(session, "write", topic):
            self._spread(message)
        if qos:
            session.send(encode(Kind.PUBACK, number.to_bytes(2, "big")))

    def _subscribe(self, session: _Session, fields: Fields) -> None:
        number = fields.packet_id()
        codes = bytearray()
        granted: list[tuple[str, int]] = []
        while not codes or fields.more():
            pattern, qos = fields.text(), fields.byte()
            if qos > 2 or not valid_filter(pattern):
                raise ProtocolError("filter (3.8.3)")
            if self._allowed(session, "subscribe", pattern):
                codes.append(min(qos, 1))
                granted.append((pattern, min(qos, 1)))
            else:
                codes.append(0x80)
        session.subscriptions.update(granted)
        session.send(encode(Kind.SUBACK, number.to_bytes(2, "big") + codes))
        for pattern, qos in granted:
            for message in list(self.retained.values()):
                if matches(pattern, message.topic):
                    self._deliver(session, message, min(qos, message.qos), retain=True)

    # --- messages

    def _allowed(self, session: _Session, action: Action, topic: str) -> bool:
        allowed = session.allow(session.user, action, topic)
        if not allowed:
            self.denied.append((session.user, action, topic))
        return allowed

    def _spread(self, message: Message) -> None:
        if message.retain:
            self.retained.pop(message.topic, None)
            if message.payload:  # an empty one clears (3.3.1.3)
                self.retained[message.topic] = message
        for listener in list(self.listeners):
            listener(message)
        for session in list(self._sessions.values()):
            granted = [
                qos for f, qos in session.subscriptions.items() if matches(f, message.topic)
            ]
            if granted:
                self._deliver(session, message, min(max(granted), message.qos), retain=False)

    def _deliver(self, session: _Session, message: Message, qos: int, retain: bool) -> None:
        if not self._allowed(session, "read", message.topic):
            return
        if not session.deliver(message, qos, retain):
            self.dropped += 1
