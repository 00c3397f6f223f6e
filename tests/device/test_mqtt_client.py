# SPDX-License-Identifier: MIT
"""What the client says and takes, on a link that works."""

import asyncio

from mqtt_peer import CONNACK, Peer, publish
from support import raises_async

from agent.errors import LinkError
from agent.link import login
from agent.link.mqtt import Mqtt


async def test_a_log_in_that_is_not_answered():
    error = await raises_async(LinkError, Peer().connect(b"", timeout_s=0.05))
    assert (error.code, error.detail) == ("mqtt-timeout", "log-in")
    peer = Peer()
    peer.reader.end()
    await raises_async(EOFError, peer.connect(b""))


async def test_messages_arrive_and_qos_1_is_acknowledged_after_its_handler():
    peer = Peer()
    await peer.connect()
    peer.run()
    order = []
    take = peer.client.on_message
    peer.client.on_message = lambda topic, payload: (order.append("taken"), take(topic, payload))
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


async def test_a_subscription_that_the_server_refuses():
    peer = Peer()
    await peer.connect()
    peer.run()
    asked = asyncio.create_task(login.subscribe(peer.client, [("a/#", 1)]))
    await peer.settle()
    peer.reader.feed(b"\x90\x03\x00\x01\x80")
    assert (await raises_async(LinkError, asked)).code == "mqtt-refused"
    await raises_async(LinkError, peer.running)


async def test_a_message_that_is_too_large_is_read_past_and_the_link_stays():
    peer = Peer()
    await peer.connect()
    peer.run()
    for size in (4097, 4224, 4225, 5000, 70000):
        peer.reader.feed(publish(b"big", bytes(size), 1, 9) + publish(b"small", b"x"))
        await peer.until(lambda: peer.messages)
        assert peer.oversize == [("big", size)]
        assert peer.messages == [("small", b"x")]
        assert peer.writer.data == b"\x40\x02\x00\x09"
        peer.forget()
    await peer.stop()


async def test_a_topic_that_is_too_long_is_read_past_too():
    peer = Peer()
    await peer.connect()
    peer.run()
    for topic_size in (129, 4093, 4094, 4095, 65535):
        for size in (0, 7, 5000):
            peer.reader.feed(publish(b"t" * topic_size, bytes(size), 1, 10))
            peer.reader.feed(publish(b"t" * 128, b"x", 1, 11))
            await peer.until(lambda: peer.messages)
            assert peer.oversize == [(None, size)]
            assert peer.messages == [("t" * 128, b"x")]
            assert peer.writer.data == b"\x40\x02\x00\x0a\x40\x02\x00\x0b"
            peer.forget()
    await peer.stop()


async def test_nobody_need_hear_of_oversize():
    client = Mqtt(lambda: 0, lambda a, b: a - b, None)
    peer = Peer()
    peer.reader.feed(CONNACK + publish(b"big", bytes(5000)))
    await login.log_in(client, peer.reader, peer.writer, "dev-1")
    peer.reader.end()
    assert (await raises_async(LinkError, client.run())).code == "mqtt-closed"


async def test_packets_that_arrive_byte_by_byte():
    peer = Peer()
    peer.reader.piece = 1
    await peer.connect()
    peer.run()
    peer.reader.feed(publish(b"a/b", b"p" * 300, 1, 513) + b"\xd0\x00" + publish(b"c", b""))
    await peer.until(lambda: len(peer.messages) == 2)
    assert peer.messages == [("a/b", b"p" * 300), ("c", b"")]
    await peer.stop()
    assert peer.client.bytes_in == 4 + 310 + 2 + 5


async def test_an_answer_of_the_wrong_kind_is_malformed():
    peer = Peer()
    await peer.connect()
    peer.run()
    asked = asyncio.create_task(peer.client.publish("t", b"x", 1))
    await peer.settle()
    peer.reader.feed(b"\x90\x03\x00\x01\x00")
    assert (await raises_async(LinkError, asked)).code == "mqtt-malformed"
    await raises_async(LinkError, peer.running)


async def test_a_suback_answers_for_every_topic():
    peer = Peer()
    await peer.connect()
    peer.run()
    asked = asyncio.create_task(login.subscribe(peer.client, [("a", 1), ("b", 0)]))
    await peer.settle()
    peer.reader.feed(b"\x90\x04\x00\x01\x01\x00")
    await asked
    asked = asyncio.create_task(login.subscribe(peer.client, [("a", 1), ("b", 0)]))
    await peer.settle()
    peer.reader.feed(b"\x90\x03\x00\x02\x01")
    assert (await raises_async(LinkError, asked)).code == "mqtt-malformed"
    await raises_async(LinkError, peer.running)


async def test_an_answer_that_comes_too_late_is_nobodys():
    peer = Peer()
    await peer.connect(timeout_s=0.05)
    peer.run()
    assert (await raises_async(LinkError, peer.client.publish("t", b"", 1))).code == "mqtt-timeout"
    peer.reader.feed(b"\x40\x02\x00\x01\x40\x02\x00\x01" + publish(b"t", b"x"))
    await peer.until(lambda: peer.messages)
    await peer.stop()


async def test_packet_identifiers_go_round_and_never_are_zero():
    peer = Peer()
    peer.client.last_id = 0xFFFE
    await peer.connect()
    peer.run()
    first = asyncio.create_task(peer.client.publish("t", b"", 1))  # 0xFFFF stays in use
    await peer.settle()
    peer.client.last_id = 0xFFFE
    for number in (b"\x00\x01", b"\x00\x02"):
        sent = asyncio.create_task(peer.client.publish("t", b"", 1))
        await peer.settle()
        assert peer.writer.data[-2:] == number
        peer.reader.feed(b"\x40\x02" + number)
        await sent
    peer.reader.feed(b"\x40\x02\xff\xff")
    await first
    await peer.stop()
