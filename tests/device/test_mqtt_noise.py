# SPDX-License-Identifier: MIT
"""Whatever comes over the line, the client ends in a LinkError with a code, and soon."""

import asyncio
import random

from mqtt_peer import Peer, publish
from support import raises_async

from agent.errors import LinkError
from agent.link import login

MALFORMED = (
    b"\x30\x80\x80\x80\x80\x01",  # remaining length of five bytes
    b"\x00\x00",  # reserved types
    b"\xf0\x00",
    b"\x10\x00",  # types that only clients send
    b"\x82\x05\x00\x01\x00\x00\x00",
    b"\xe0\x00",
    b"\x34\x05\x00\x01a\x00\x01",  # QoS 2 and 3
    b"\x36\x05\x00\x01a\x00\x01",
    b"\x20\x02\x00\x00",  # a second CONNACK
    b"\x41\x02\x00\x01",  # flags that must be zero
    b"\xd1\x00",
    b"\xd0\x01\x00",
    b"\x40\x02\x00\x00",  # packet identifier zero
    b"\x32\x05\x00\x01a\x00\x00",
    b"\x30\x00",  # no room for a topic
    b"\x30\x01\x00",
    b"\x30\x03\x00\x05a",  # a topic that is longer than its packet
    b"\x32\x03\x00\x01a",  # QoS 1 without an identifier
    b"\x30\x02\x00\x00",  # an empty topic
    b"\x30\x04\x00\x02\xff\xfe",  # not UTF-8
    b"\x30\x05\x00\x03a/#",  # wildcards
    b"\x30\x05\x00\x03a/+",
    b"\x30\x03\x00\x01\x00",  # NUL
    b"\x90\x02\x00\x01",  # SUBACK without a code
    b"\x40\x02\x00\x01",  # an answer to what was never asked
    b"\x90\x03\x00\x01\x00",
    b"\x38\x03\x00\x01a",  # DUP with QoS 0
)


async def test_whatever_breaks_the_standard_is_malformed():
    for data in MALFORMED:
        peer = Peer()
        await peer.connect()
        peer.run()
        peer.reader.feed(data)
        error = await raises_async(LinkError, asyncio.wait_for(peer.running, 2))
        assert error.code == "mqtt-malformed", (data, error)


async def test_an_answer_with_flags_is_malformed_even_if_it_is_due():
    peer = Peer()
    await peer.connect()
    peer.run()
    sent = asyncio.create_task(peer.client.publish("t", b"x", 1))
    await peer.settle()
    peer.reader.feed(b"\x41\x02\x00\x01")
    error = await raises_async(LinkError, sent)
    assert (error.code, error.detail) == ("mqtt-malformed", "flags")
    await raises_async(LinkError, peer.running)


async def test_every_log_in_that_is_not_one():
    for code in range(1, 6):
        error = await raises_async(LinkError, Peer().connect(b"\x20\x02\x00" + bytes((code,))))
        assert (error.code, error.detail) == ("mqtt-refused", str(code))
    for answer in (
        b"\xd0\x00",
        b"\x20\x02\x02\x00",
        b"\x20\x03\x00\x00\x00",
        b"\x40\x02\x00\x01",
        publish(b"t", bytes(5000)),  # a message that would have to be read past
        b"HTTP/1.1 400 Bad Request\r\n",
    ):
        assert (await raises_async(LinkError, Peer().connect(answer))).code == "mqtt-malformed"


def noise(round_, valid):
    """Random bytes, or `valid` with some bytes changed and perhaps its end missing."""
    if round_ % 3 == 0:
        return bytes([random.getrandbits(8) for _ in range(60)])
    data = bytearray(valid)
    for _ in range(1 + round_ % 5):
        data[random.getrandbits(16) % len(data)] = random.getrandbits(8)
    return bytes(data[: len(data) - random.getrandbits(8) % 8])


ENDS = ("mqtt-malformed", "mqtt-closed", "mqtt-refused")


async def test_noise_ends_in_a_link_error_and_nothing_else():
    random.seed(7)
    valid = publish(b"topic", b"payload", 1, 5) + b"\xd0\x00" + publish(b"t", bytes(40))
    valid += b"\x40\x02\x00\x01" + publish(b"a/b", b"x", 1, 6, flags=8) + b"\x90\x03\x00\x02\x01"
    seen = set()
    for round_ in range(400):
        peer = Peer()
        await peer.connect()
        peer.run()
        asked = [
            asyncio.create_task(peer.client.publish("t", b"x", 1)),
            asyncio.create_task(login.subscribe(peer.client, [("t", 1)])),
        ]
        await asyncio.sleep(0)
        data = noise(round_, valid)
        peer.reader.piece = 1 + round_ % 7
        peer.reader.feed(data)
        peer.reader.end()
        error = await raises_async(LinkError, asyncio.wait_for(peer.running, 2))
        assert error.code in ENDS, (data, error)
        seen.add(error.code)
        for task in asked:
            try:
                await asyncio.wait_for(task, 2)
            except LinkError as e:
                assert e.code in ENDS, (data, e)
    assert len(seen) > 1


async def test_noise_instead_of_an_answer_to_the_log_in():
    random.seed(8)
    for round_ in range(200):
        peer = Peer()
        peer.reader.piece = 1 + round_ % 3
        data = noise(round_, b"\x20\x02\x00\x00" * 3)
        peer.reader.feed(data)
        peer.reader.end()
        try:
            await asyncio.wait_for(peer.connect(b""), 2)
        except LinkError as e:
            assert e.code in ENDS, (data, e)
        except EOFError:
            pass  # the caller's to map, as what TLS raises
