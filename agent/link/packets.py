# SPDX-License-Identifier: MIT
"""MQTT 3.1.1 control packets as bytes (OASIS standard, 29 October 2014; section numbers below).

Pure: values in, bytes out. What is rare stands in `login` and `arrivals`. What breaks the standard
is LinkError("mqtt-malformed").
"""

import struct

from micropython import const

from agent.errors import LinkError, Refused

PINGREQ = b"\xc0\x00"

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
