# SPDX-License-Identifier: MIT
"""The packet that logs in to an MQTT 3.1.1 server. Loaded while there is no connection."""

import struct

from agent.link.packets import packet, text


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
