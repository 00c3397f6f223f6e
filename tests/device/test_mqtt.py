# SPDX-License-Identifier: MIT
import asyncio
import random

from mqtt_peer import CONNACK, Peer, length, publish
from support import raises, raises_async

from agent.errors import LinkError, Refused
from agent.link import packets


def test_connect_is_the_standards_bytes():
    will = ("t/online", b"{}", True)
    assert packets.connect("dev-1", 30, will) == (
        b"\x10\x1f\x00\x04MQTT\x04\x2e\x00\x1e\x00\x05dev-1\x00\x08t/online\x00\x02{}"
    )
    assert packets.connect("a", 60, None) == b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a"


def test_publish_and_subscribe_are_the_standards_bytes():
    assert packets.publish("a/b", b"hi", 0, False, 0) == b"\x30\x07\x00\x03a/bhi"
    assert packets.publish("a/b", b"hi", 1, True, 10) == b"\x33\x09\x00\x03a/b\x00\x0ahi"
    assert packets.subscribe([("a/#", 1)], 7) == b"\x82\x08\x00\x07\x00\x03a/#\x01"
    long = packets.publish("t", bytes(300), 0, False, 0)
    assert long[:3] == b"\x30\xaf\x02" and len(long) == 3 + 303


def test_what_is_too_long_is_refused_before_it_is_sent():
    topic = "t" * (packets.LONGEST_TOPIC + 1)
    assert raises(Refused, packets.publish, topic, b"", 0, False, 0).code == "mqtt-too-long"
    payload = bytes(packets.LONGEST_PAYLOAD + 1)
    assert raises(Refused, packets.publish, "t", payload, 0, False, 0).code == "mqtt-too-long"


async def test_every_refusal_of_the_log_in_says_its_number():
    for code in range(1, 6):
        error = await raises_async(LinkError, Peer().connect(b"\x20\x02\x00" + bytes((code,))))
        assert (error.code, error.detail) == ("mqtt-refused", str(code))


async def test_a_log_in_that_is_answered_wrongly_or_not_at_all():
    for answer in (b"\xd0\x00", b"\x20\x02\x02\x00", b"\x20\x03\x00\x00\x00", b"\x40\x02\x00\x01"):
        assert (await raises_async(LinkError, Peer().connect(answer))).code == "mqtt-malformed"
    error = await raises_async(LinkError, Peer().connect(b"", timeout_s=0.05))
    assert error.code == "mqtt-timeout"
    peer = Peer()
    peer.reader.end()
    await raises_async(EOFError, peer.connect(b""))


async def test_trouble_of_tls_in_the_first_write_is_let_through():
    peer = Peer()
    peer.writer.error = ValueError("\nThe certificate validity has expired\n")
    await raises_async(ValueError, peer.connect())


async def test_messages_arrive_and_qos_1_is_acknowledged_after_its_handler():
    peer = Peer()
    await peer.connect()
    peer.run()
    order = []
    take = peer.client._on_message
    peer.client._on_message = lambda topic, payload: (order.append("taken"), take(topic, payload))
    peer.writer.answer = lambda data: order.append(data)
    peer.reader.feed(publish(b"a", b"zero") + publish(b"b", b"one", 1, 513))
    peer.reader.feed(publish(b"c", b"", 1, 514, flags=8) + publish(b"d", bytes(4096), flags=1))
    await peer.settle()
    assert peer.messages == [("a", b"zero"), ("b", b"one"), ("c", b""), ("d", bytes(4096))]
    assert order == ["taken", "taken", b"\x40\x02\x02\x01", "taken", b"\x40\x02\x02\x02", "taken"]
    await peer.stop()


async def test_publish_with_qos_1_returns_with_its_acknowledgement():
    peer = Peer()
    await peer.connect()
    peer.run()
    sent = asyncio.create_task(peer.client.publish("t", b"x", 1))
    await peer.settle()
    assert peer.writer.data == b"\x32\x06\x00\x01t\x00\x01x" and not sent.done()
    peer.reader.feed(b"\x40\x02\x00\x63")  # of somebody who has given up
    await peer.settle()
    assert not sent.done()
    peer.reader.feed(b"\x40\x02\x00\x01")
    await sent
    await peer.stop()


async def test_several_publishes_wait_for_their_own_answers():
    peer = Peer()
    await peer.connect()
    peer.run()
    tasks = [asyncio.create_task(peer.client.publish("t", b"x", 1)) for _ in range(3)]
    await peer.settle()
    for number in (2, 3, 1):
        peer.reader.feed(bytes((0x40, 2, 0, number)))
        await peer.settle()
        assert tasks[number - 1].done()
    await asyncio.gather(*tasks)
    await peer.stop()


async def test_no_answer_ends_in_a_time_out():
    peer = Peer()
    await peer.connect(timeout_s=0.05)
    peer.run()
    assert (await raises_async(LinkError, peer.client.publish("t", b"", 1))).code == "mqtt-timeout"
    error = await raises_async(LinkError, peer.client.subscribe([("t", 1)]))
    assert error.code == "mqtt-timeout"
    await peer.stop()


async def test_who_waits_hears_of_a_link_that_fails():
    peer = Peer()
    await peer.connect()
    peer.run()
    sent = asyncio.create_task(peer.client.publish("t", b"x", 1))
    await peer.settle()
    peer.reader.end()
    assert (await raises_async(LinkError, sent)).code == "mqtt-closed"
    assert (await raises_async(LinkError, peer.running)).code == "mqtt-closed"


async def test_a_subscription_that_the_server_refuses():
    peer = Peer()
    await peer.connect()
    peer.run()
    asked = asyncio.create_task(peer.client.subscribe([("a/#", 1)]))
    await peer.settle()
    peer.reader.feed(b"\x90\x03\x00\x01\x80")
    assert (await raises_async(LinkError, asked)).code == "mqtt-refused"
    await raises_async(LinkError, peer.running)


async def test_a_message_that_is_too_large_is_read_past_and_the_link_stays():
    peer = Peer()
    await peer.connect()
    peer.run()
    for size in (4097, 4224, 4225, 5000, 70000):
        peer.reader.feed(publish(b"big", bytes(size), 1, 9))
        peer.reader.feed(publish(b"t" * 129, bytes(size), 1, 10) + publish(b"small", b"x"))
        for _ in range(20):
            await peer.settle()
        assert peer.oversize == [("big", size), (None, size)], peer.oversize
        assert peer.messages == [("small", b"x")]
        assert peer.writer.data == b"\x40\x02\x00\x09\x40\x02\x00\x0a"
        peer.messages.clear()
        peer.oversize.clear()
        peer.writer.data = b""
    await peer.stop()


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
)


async def test_whatever_breaks_the_standard_is_malformed():
    for data in MALFORMED:
        peer = Peer()
        await peer.connect()
        peer.run()
        peer.reader.feed(data)
        error = await raises_async(LinkError, asyncio.wait_for(peer.running, 2))
        assert error.code == "mqtt-malformed", (data, error)


async def test_an_answer_of_the_wrong_kind_is_malformed():
    peer = Peer()
    await peer.connect()
    peer.run()
    asked = asyncio.create_task(peer.client.publish("t", b"x", 1))
    await peer.settle()
    peer.reader.feed(b"\x90\x03\x00\x01\x00")
    assert (await raises_async(LinkError, asked)).code == "mqtt-malformed"
    await raises_async(LinkError, peer.running)


async def test_noise_ends_in_a_link_error_and_nothing_else():
    random.seed(7)
    valid = publish(b"topic", b"payload", 1, 5) + b"\xd0\x00" + publish(b"t", bytes(40))
    for round_ in range(250):
        if round_ % 2:
            data = bytes([random.getrandbits(8) for _ in range(60)])
        else:
            data = bytearray(valid)
            for _ in range(1 + round_ % 5):
                data[random.getrandbits(16) % len(data)] = random.getrandbits(8)
            data = bytes(data)
        peer = Peer()
        await peer.connect()
        peer.run()
        peer.reader.feed(data)
        peer.reader.end()
        error = await raises_async(LinkError, asyncio.wait_for(peer.running, 2))
        assert error.code in ("mqtt-malformed", "mqtt-closed", "mqtt-refused"), (data, error)


async def test_pings_keep_the_link_and_a_missing_answer_ends_it():
    peer = Peer()
    await peer.connect(keepalive_s=30, timeout_s=20)
    peer.run()
    await peer.client.keep_alive()
    assert peer.writer.data == b""
    for _ in range(3):
        peer.ms += 15000
        await peer.client.keep_alive()
        assert peer.writer.data == packets.PINGREQ
        peer.writer.data = b""
        peer.reader.feed(b"\xd0\x00")
        await peer.settle()
    peer.ms += 15000
    await peer.client.keep_alive()
    peer.ms += 20001
    error = await raises_async(LinkError, peer.client.keep_alive())
    assert (error.code, error.detail) == ("mqtt-timeout", "ping")
    await peer.stop()


async def test_a_writer_that_does_not_drain_ends_in_a_time_out():
    peer = Peer()
    await peer.connect(timeout_s=0.05)

    async def stalls():
        await asyncio.sleep(5)

    peer.writer.drain = stalls
    error = await raises_async(LinkError, peer.client.publish("t", b""))
    assert (error.code, error.detail) == ("mqtt-timeout", "write")


async def test_a_flood_leaves_the_loop_its_turns():
    peer = Peer()
    await peer.connect()
    peer.reader.feed(publish(b"t", b"x") * 200)
    peer.run()
    turns = 0
    while len(peer.messages) < 200:
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 40
    await peer.stop()


async def test_a_client_is_used_over_many_connections():
    peer = Peer()
    for _ in range(3):
        await peer.connect()
        peer.run()
        peer.reader.feed(publish(b"t", b"x"))
        peer.reader.end()
        await raises_async(LinkError, peer.running)
        peer.reader.__init__()
    assert len(peer.messages) == 3
    assert length(321) == b"\xc1\x02" and CONNACK[0] == 0x20
