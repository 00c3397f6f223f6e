# SPDX-License-Identifier: MIT
"""How an MQTT connection begins and ends: log in, subscribe, take leave, close.

Loaded while there is no connection, and to take leave.
"""

import asyncio
import struct

from micropython import const

from agent.errors import LinkError
from agent.link.packets import malformed, packet, text

_CONNACK = const(0x20)
_DISCONNECT = b"\xe0\x00"
_CLOSE_S = const(5)


async def log_in(
    mqtt, reader, writer, client_id, keepalive_s=60, will=None, timeout_s=20, login=None
):
    """Logs in (3.1, 3.2); LinkError("mqtt-refused", CONNACK code) when the server declines.

    `will` is (topic, payload, retain), `login` (user, password or None). OSError, EOFError and
    ValueError of the TLS handshake, which runs in here, are let through.
    """
    mqtt.use(reader, writer, keepalive_s, timeout_s)
    await mqtt.bound(_log_in(mqtt, connect(client_id, keepalive_s, will, login)), "log-in")
    mqtt.in_log_in = False


async def _log_in(mqtt, data):
    await mqtt.send(data)
    if await mqtt.head() != (_CONNACK, 2):
        raise malformed("no CONNACK")
    await mqtt.fill(2)
    if mqtt.buffer[0] & 0xFE:
        raise malformed("CONNACK flags")
    if mqtt.buffer[1]:
        raise LinkError("mqtt-refused", str(mqtt.buffer[1]))


async def subscribe(mqtt, topics):
    """Subscribes to [(topic, qos), ...]; needs `run` to be running."""
    number = mqtt.number()
    await mqtt.ask(subscription(topics, number), number, 2 + len(topics))


async def leave(mqtt):
    """Takes leave (3.14): the last will is not sent."""
    await mqtt.bound(mqtt.send(_DISCONNECT), "write")


async def close(mqtt):
    """Closes the connection, if there is one."""
    mqtt.fail(LinkError("mqtt-closed"))
    writer, mqtt.writer = mqtt.writer, None
    if writer is None:
        return
    try:
        writer.close()
        await asyncio.wait_for(writer.wait_closed(), _CLOSE_S)
    except (OSError, asyncio.TimeoutError):
        pass  # the socket is gone either way


def connect(client_id, keepalive_s, will=None, login=None):
    """CONNECT (3.1), clean session; `will` is (topic, payload, retain) with QoS 1, or None,
    `login` (user, password or None) or None."""
    flags = 0x02
    body = text(client_id)
    if will:
        topic, message, retain = will
        flags |= 0x0C | (0x20 if retain else 0)
        body += text(topic) + text(message)
    if login:
        user, password = login
        flags |= 0x80 if password is None else 0xC0
        body += text(user)
        if password is not None:
            body += text(password)
    return packet(0x10, b"\x00\x04MQTT\x04" + struct.pack(">BH", flags, keepalive_s) + body)


def subscription(topics, packet_id):
    """SUBSCRIBE (3.8) to [(topic, qos), ...]."""
    body = struct.pack(">H", packet_id)
    for topic, qos in topics:
        body += text(topic) + bytes((qos,))
    return packet(0x82, body)
