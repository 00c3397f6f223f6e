# SPDX-License-Identifier: MIT
"""MQTT 3.1.1 as a broker sees it: packets out of a stream and into bytes, topics and filters.

Written from the OASIS standard apart from the agent's own client (agent/link), so that neither
hides a mistake of the other.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "Connect",
    "Fields",
    "Kind",
    "Message",
    "ProtocolError",
    "encode",
    "matches",
    "publish_packet",
    "read_packet",
    "valid_filter",
    "valid_topic",
]

LARGEST_PACKET = 256 * 1024


class ProtocolError(Exception):
    """The client breaks the standard: its connection is closed, its last will is sent."""


class Kind(IntEnum):
    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


# Flags that the first byte must have (2.2.2); PUBLISH has its own.
_FLAGS = {Kind.SUBSCRIBE: 2, Kind.UNSUBSCRIBE: 2}


@dataclass(frozen=True)
class Message:
    """One application message. `sender` is a client id, "" for the test itself."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    sender: str = ""


class Fields:
    """Takes the fields of a packet one after the other; ProtocolError when they do not fit."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, count: int) -> bytes:
        if count > len(self._data):
            raise ProtocolError("packet too short")
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def short(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def packet_id(self) -> int:
        number = self.short()
        if not number:
            raise ProtocolError("packet identifier 0 (2.3.1)")
        return number

    def blob(self) -> bytes:
        return self.take(self.short())

    def text(self) -> str:
        try:
            text = self.blob().decode()
        except UnicodeDecodeError as e:
            raise ProtocolError("not UTF-8 (1.5.3)") from e
        if "\0" in text:
            raise ProtocolError("NUL in a text (1.5.3)")
        return text

    def rest(self) -> bytes:
        return self.take(len(self._data))

    def more(self) -> bool:
        return bool(self._data)

    def end(self) -> None:
        if self._data:
            raise ProtocolError("packet too long")


async def read_packet(reader: asyncio.StreamReader) -> tuple[Kind, int, Fields]:
    """The next packet: kind, flags, fields.

    Raises:
        ProtocolError: It is none that a client may send.
        asyncio.IncompleteReadError: The connection ended.
    """
    first = (await reader.readexactly(1))[0]
    size = 0
    for shift in (0, 7, 14, 21):
        byte = (await reader.readexactly(1))[0]
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    else:
        raise ProtocolError("remaining length of more than four bytes (2.2.3)")
    if size > LARGEST_PACKET:
        raise ProtocolError("larger than this broker takes")
    try:
        kind = Kind(first >> 4)
    except ValueError as e:
        raise ProtocolError(f"packet type {first >> 4}") from e
    if kind is not Kind.PUBLISH and first & 0x0F != _FLAGS.get(kind, 0):
        raise ProtocolError("flags (2.2.2)")
    return kind, first & 0x0F, Fields(await reader.readexactly(size))


def encode(kind: Kind, body: bytes, flags: int = 0) -> bytes:
    """A packet's bytes."""
    length = bytearray()
    size = len(body)
    while True:
        length.append((size & 0x7F) | (0x80 if size > 0x7F else 0))
        size >>= 7
        if not size:
            return bytes([kind << 4 | flags]) + bytes(length) + body


def publish_packet(
    message: Message, qos: int, retain: bool, packet_id: int = 0, dup: bool = False
) -> bytes:
    """PUBLISH (3.3)."""
    topic = message.topic.encode()
    body = len(topic).to_bytes(2, "big") + topic
    if qos:
        body += packet_id.to_bytes(2, "big")
    return encode(Kind.PUBLISH, body + message.payload, dup << 3 | qos << 1 | retain)


@dataclass(frozen=True)
class Connect:
    """What a CONNECT packet (3.1) says."""

    level_known: bool
    client_id: str
    clean: bool
    keep_alive_s: int
    user: str | None
    password: bytes | None
    will: Message | None

    @classmethod
    def parse(cls, fields: Fields) -> Connect:
        if fields.text() != "MQTT":
            raise ProtocolError("protocol name (3.1.2.1)")
        if fields.byte() != 4:
            return cls(False, "", True, 0, None, None, None)
        flags = fields.byte()
        will_qos = flags >> 3 & 3
        if flags & 0x01 or will_qos == 3:
            raise ProtocolError("connect flags (3.1.2.3)")
        if not flags & 0x04 and flags & 0x38:
            raise ProtocolError("will flags without a will (3.1.2.6)")
        if flags & 0x40 and not flags & 0x80:
            raise ProtocolError("password without a user (3.1.2.9)")
        keep_alive_s = fields.short()
        client_id = fields.text()
        will = None
        if flags & 0x04:
            topic = fields.text()
            if not valid_topic(topic):
                raise ProtocolError("will topic")
            will = Message(topic, fields.blob(), min(will_qos, 1), bool(flags & 0x20), client_id)
        user = fields.text() if flags & 0x80 else None
        password = fields.blob() if flags & 0x40 else None
        fields.end()
        return cls(True, client_id, bool(flags & 0x02), keep_alive_s, user, password, will)


def valid_topic(topic: str) -> bool:
    """Whether a message may be published to it (4.7)."""
    return bool(topic) and not set(topic) & set("#+\0")


def valid_filter(pattern: str) -> bool:
    """Whether it may be subscribed to (4.7.1): # alone and last, + alone in its level."""
    levels = pattern.split("/")
    return bool(pattern) and all(
        level == "+" or (level == "#" and index == len(levels) - 1) or not set(level) & set("#+")
        for index, level in enumerate(levels)
    )


def matches(pattern: str, topic: str) -> bool:
    """Whether a filter takes a topic; wildcards do not open $-topics (4.7.2)."""
    if topic.startswith("$") and pattern[0] in "#+":
        return False
    wanted, levels = pattern.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)
