# SPDX-License-Identifier: MIT
"""MQTT 3.1.1 control packets as bytes (OASIS standard, 29 October 2014; section numbers below).

Pure: values in, bytes out, and back. What breaks the standard is LinkError("mqtt-malformed").
"""

import struct

from micropython import const

from agent.errors import LinkError, Refused

CONNACK = const(2)
PUBLISH = const(3)
PUBACK = const(4)
SUBACK = const(9)
PINGRESP = const(13)

PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"

LONGEST_PAYLOAD = const(4096)
LONGEST_TOPIC = const(128)


def malformed(detail):
    return LinkError("mqtt-malformed", detail)


def text(value):
    """A string or bytes with its length before it (1.5.3)."""
    data = value if isinstance(value, (bytes, bytearray)) else value.encode()
    return struct.pack(">H", len(data)) + data


def packet(head, body, payload=b""):
    """Fixed header (2.2), body and payload; what is large is copied once."""
    size = len(body) + len(payload)
    data = bytearray([head])
    while True:  # remaining length (2.2.3): seven bits a byte, the lowest first
        data.append((size & 0x7F) | (0x80 if size > 0x7F else 0))
        size >>= 7
        if not size:
            return data + body + payload


def publish(topic, payload, qos, retain, packet_id):
    """PUBLISH (3.3) with QoS 0 or 1; Refused when it is longer than this end would take."""
    body = text(topic)
    if len(payload) > LONGEST_PAYLOAD or len(body) > 2 + LONGEST_TOPIC:
        raise Refused("mqtt-too-long", topic)
    if qos:
        body += struct.pack(">H", packet_id)
    return packet(0x30 | (qos << 1) | (1 if retain else 0), body, payload)


def puback(packet_id):
    """PUBACK (3.4)."""
    return struct.pack(">BBH", 0x40, 2, packet_id)


def subscribe(topics, packet_id):
    """SUBSCRIBE (3.8) to [(topic, qos), ...]."""
    body = struct.pack(">H", packet_id)
    for topic, qos in topics:
        body += text(topic) + bytes((qos,))
    return packet(0x82, body)


def check_head(head, size):
    """The type of a packet that a server may send, by its first byte and remaining length."""
    kind = head >> 4
    flags = head & 0x0F
    if kind == PUBLISH:
        # We subscribe with QoS 1 at most, so 2 never comes (3.8.4); DUP needs QoS (3.3.1.1).
        if flags & 0x06 > 0x02 or flags & 0x0E == 0x08:
            raise malformed("qos")
        fits = size > 2
    elif flags:
        raise malformed("flags")
    elif kind == CONNACK or kind == PUBACK:
        fits = size == 2
    elif kind == SUBACK:
        fits = 3 <= size <= 34
    else:
        fits = kind == PINGRESP and size == 0
    if not fits:
        raise malformed("packet {}".format(head))
    return kind


def check_topic(data):
    """The text of a topic name (4.7): UTF-8, not empty, no wildcards, no NUL (1.5.3)."""
    try:
        topic = str(data, "utf-8")
    except ValueError:  # UnicodeError is one
        raise malformed("topic")
    if not topic or "#" in topic or "+" in topic or "\0" in topic:
        raise malformed("topic")
    return topic


def packet_id(data):
    """A packet identifier, which is never zero (2.3.1)."""
    number = data[0] << 8 | data[1]
    if not number:
        raise malformed("packet id")
    return number
