# SPDX-License-Identifier: MIT
"""Reads the MQTT packets that come now and then: messages, and answers to what was asked.

What breaks the standard is LinkError("mqtt-malformed"). Loaded with such a packet, released at
the session's next look.
"""

import struct

from micropython import const

from agent.errors import LinkError
from agent.link.packets import LONGEST_TOPIC, malformed

_PUBLISH = const(3)
_PUBACK = const(4)
_SUBACK = const(9)


async def take(mqtt, head, size):
    """Reads and serves the packet whose fixed header was (first byte, remaining length)."""
    if check_head(head, size) == _PUBLISH:
        await _take_message(mqtt, head & 0x06, size)
    else:
        await mqtt.fill(size)
        _take_answer(mqtt, size)


def check_head(head, size):
    """The type of a packet that a server may send after the log-in."""
    kind = head >> 4
    flags = head & 0x0F
    if kind == _PUBLISH:
        # We subscribe with QoS 1 at most, so 2 never comes (3.8.4); DUP needs QoS (3.3.1.1).
        if flags & 0x06 > 0x02 or flags & 0x0E == 0x08:
            raise malformed("qos")
        fits = size > 2
    elif flags:
        raise malformed("flags")
    else:
        fits = size == 2 if kind == _PUBACK else kind == _SUBACK and 3 <= size <= 34
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


def puback(packet_id):
    """PUBACK (3.4)."""
    return struct.pack(">BBH", 0x40, 2, packet_id)


def _packet_id(data):
    """A packet identifier, which is never zero (2.3.1)."""
    number = data[0] << 8 | data[1]
    if not number:
        raise malformed("packet id")
    return number


async def _pass_over(mqtt, count):
    while count:
        count -= len(await mqtt.piece(count))


async def _take_message(mqtt, qos, size):
    """PUBLISH (3.3). Each part is read to the start of the buffer, over the one before."""
    data = mqtt.buffer
    await mqtt.fill(2)
    topic_size = data[0] << 8 | data[1]
    size -= 2 + topic_size + (2 if qos else 0)
    if size < 0:
        raise malformed("publish")
    topic = None
    if topic_size <= LONGEST_TOPIC:
        await mqtt.fill(topic_size)
        topic = check_topic(data[:topic_size])
    else:
        await _pass_over(mqtt, topic_size)
    number = 0
    if qos:
        await mqtt.fill(2)
        number = _packet_id(data)
    if topic and size <= len(data):
        await mqtt.fill(size)
        mqtt.on_message(topic, data[:size])
    else:
        await _pass_over(mqtt, size)
        if mqtt.on_oversize:
            mqtt.on_oversize(topic, size)
    if number:
        await mqtt.send(puback(number))


def _take_answer(mqtt, size):
    """PUBACK (3.4) or SUBACK (3.9), which differ in size."""
    number = _packet_id(mqtt.buffer)
    if (mqtt.last_id - number) % 0xFFFF >= mqtt.issued:
        raise malformed("unknown packet id")
    entry = mqtt.waiting.get(number)
    if entry is None:
        return  # whoever waited for it has given up
    if entry[0] != size:
        raise malformed("wrong answer")
    for index in range(2, size):
        if mqtt.buffer[index] > 1:  # 0x80: the server refuses (3.9.3)
            raise LinkError("mqtt-refused", "subscribe")
    del mqtt.waiting[number]
    entry[1].set()
