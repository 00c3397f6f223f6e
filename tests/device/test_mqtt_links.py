# SPDX-License-Identifier: MIT
"""What the client does when a link is slow, breaks, is left, and is made anew."""

import asyncio
import gc

from mqtt_peer import Peer, Writer, publish
from support import raises, raises_async

from agent.errors import LinkError
from agent.link import login, packets


async def test_trouble_of_tls_in_the_first_write_is_let_through():
    peer = Peer()
    peer.writer.error = ValueError("\nThe certificate validity has expired\n")
    await raises_async(ValueError, peer.connect())


async def test_who_waits_hears_of_a_link_that_fails():
    peer = Peer()
    await peer.connect()
    peer.run()
    sent = asyncio.create_task(peer.client.publish("t", b"x", 1))
    await peer.settle()
    peer.reader.end()
    assert (await raises_async(LinkError, sent)).code == "mqtt-closed"
    assert (await raises_async(LinkError, peer.running)).code == "mqtt-closed"


async def test_no_answer_ends_in_a_time_out():
    peer = Peer()
    await peer.connect(timeout_s=0.05)
    peer.run()
    assert (await raises_async(LinkError, peer.client.publish("t", b"", 1))).code == "mqtt-timeout"
    error = await raises_async(LinkError, login.subscribe(peer.client, [("t", 1)]))
    assert error.code == "mqtt-timeout"
    await peer.stop()


async def test_pings_keep_the_link_and_a_missing_answer_ends_it():
    peer = Peer()
    await peer.connect(keepalive_s=30, timeout_s=20)
    peer.run()
    peer.client.keep_alive()
    assert peer.writer.data == b""
    for _ in range(3):
        peer.ms += 15000
        peer.client.keep_alive()
        assert peer.writer.data == packets.PINGREQ
        peer.writer.data = b""
        peer.reader.feed(b"\xd0\x00")
        await peer.settle()
    peer.ms += 15000
    peer.client.keep_alive()
    peer.ms += 20001
    error = raises(LinkError, peer.client.keep_alive)
    assert (error.code, error.detail) == ("mqtt-timeout", "ping")
    await peer.stop()


async def test_a_writer_that_does_not_drain_ends_in_a_time_out():
    peer = Peer()
    await peer.connect(timeout_s=0.05)
    peer.writer.stalled = True
    waits = asyncio.create_task(peer.client.publish("t", b"second"))
    error = await raises_async(LinkError, peer.client.publish("t", b"first"))
    assert (error.code, error.detail) == ("mqtt-timeout", "write")
    assert (await raises_async(LinkError, waits)).code == "mqtt-timeout"
    await nothing_more_goes_out(peer)


async def nothing_more_goes_out(peer):
    """After half a packet, whatever followed would be taken for its other half."""
    peer.writer.stalled = False
    peer.writer.data = b""
    for attempt in (
        peer.client.publish("t", b""),
        peer.client.publish("t", b"", 1),
        login.leave(peer.client),
    ):
        assert (await raises_async(LinkError, attempt)).code == "mqtt-closed"
    assert raises(LinkError, peer.client.keep_alive).code == "mqtt-closed"
    assert peer.writer.data == b""


async def test_a_publish_that_is_cancelled_while_it_writes_ends_the_link():
    peer = Peer()
    await peer.connect()
    peer.writer.stalled = True
    sent = asyncio.create_task(peer.client.publish("t", b"x"))
    await peer.settle()
    sent.cancel()
    await raises_async(asyncio.CancelledError, sent)
    await nothing_more_goes_out(peer)


async def test_a_publish_that_is_cancelled_while_it_waits_does_no_harm():
    peer = Peer()
    await peer.connect()
    peer.run()
    sent = asyncio.create_task(peer.client.publish("t", b"x", 1))
    await peer.settle()
    sent.cancel()
    await raises_async(asyncio.CancelledError, sent)
    peer.reader.feed(b"\x40\x02\x00\x01" + publish(b"t", b"x"))
    await peer.until(lambda: peer.messages)
    await peer.client.publish("t", b"y")
    await peer.stop()


async def test_a_lost_link_is_a_link_error_for_who_writes():
    for lost in (OSError(104), ValueError("tls")):
        peer = Peer()
        await peer.connect()
        peer.writer.error = lost
        assert (await raises_async(LinkError, peer.client.publish("t", b""))).code == "mqtt-closed"
        await nothing_more_goes_out(peer)


async def test_a_lost_link_is_a_link_error_for_who_reads():
    for lost in (OSError(104), ValueError("tls")):
        peer = Peer()
        await peer.connect()
        peer.reader.error = lost
        peer.reader.end()
        error = await raises_async(LinkError, peer.client.run())
        assert (error.code, error.detail) == ("mqtt-closed", str(lost.args[0]))


async def test_without_a_connection_nothing_is_sent():
    peer = Peer()
    await nothing_more_goes_out(peer)
    await peer.connect()
    peer.run()
    sent = asyncio.create_task(peer.client.publish("t", b"x", 1))
    await peer.settle()
    await peer.stop()  # cancels `run`
    assert (await raises_async(LinkError, sent)).code == "mqtt-closed"
    await nothing_more_goes_out(peer)


async def test_what_waited_for_an_old_connection_stays_off_the_new_one():
    peer = Peer()
    await peer.connect()
    peer.writer.stalled = True
    old = [asyncio.create_task(peer.client.publish("t", b"old", qos)) for qos in (0, 1, 0)]
    await peer.settle()
    old_writer, peer.writer = peer.writer, Writer()
    await peer.connect()
    old_writer.stalled = False
    for task in old[1:]:
        assert (await raises_async(LinkError, task)).code == "mqtt-closed"
    await peer.client.publish("t", b"new")
    assert peer.writer.data == packets.publish("t", b"new", 0, False, 0)


async def test_who_waits_hears_of_a_new_connection():
    peer = Peer()
    await peer.connect()
    sent = asyncio.create_task(peer.client.publish("t", b"x", 1))
    await peer.settle()
    await peer.connect()
    error = await raises_async(LinkError, asyncio.wait_for(sent, 2))
    assert error.code == "mqtt-closed"


async def test_closing_tells_who_waits_and_may_be_repeated():
    for error in (None, OSError(104)):
        peer = Peer()
        await peer.connect()
        sent = asyncio.create_task(peer.client.publish("t", b"x", 1))
        await peer.settle()
        peer.writer.error = error
        await login.close(peer.client)
        assert peer.writer.closed
        error = await raises_async(LinkError, asyncio.wait_for(sent, 2))
        assert error.code == "mqtt-closed"
        await login.close(peer.client)
        await nothing_more_goes_out(peer)


async def test_a_fault_of_the_handler_is_not_taken_for_one_of_the_link():
    peer = Peer()
    await peer.connect()

    def faulty(topic, payload):
        raise ValueError("a bug")

    peer.client.on_message = faulty
    peer.reader.feed(publish(b"t", b"x", 1))
    assert (await raises_async(ValueError, peer.client.run())).args == ("a bug",)
    assert peer.writer.data == b""  # not acknowledged: it comes again


async def test_who_only_talks_pings_too():
    peer = Peer()
    await peer.connect(keepalive_s=30)
    for _ in range(3):
        peer.ms += 5000
        await peer.client.publish("t", b"")
        peer.client.keep_alive()
    assert peer.writer.data[-2:] == packets.PINGREQ


async def test_a_ping_waits_for_a_packet_that_is_half_out():
    peer = Peer()
    await peer.connect(keepalive_s=30)
    peer.writer.stalled = True
    sent = asyncio.create_task(peer.client.publish("t", b"x"))
    await peer.settle()
    peer.ms += 15000
    peer.client.keep_alive()
    assert peer.writer.data == packets.publish("t", b"x", 0, False, 0)
    peer.writer.stalled = False
    await sent
    peer.ms += 15000
    peer.client.keep_alive()
    assert peer.writer.data[-2:] == packets.PINGREQ


async def test_a_ping_that_cannot_be_written_ends_the_link():
    for lost in (OSError(104), ValueError("tls")):
        peer = Peer()
        await peer.connect(keepalive_s=30)
        peer.writer.write = failing(lost)
        peer.ms += 15000
        assert raises(LinkError, peer.client.keep_alive).code == "mqtt-closed"
        del peer.writer.write
        await nothing_more_goes_out(peer)


def failing(error):
    def write(data):
        raise error

    return write


async def test_no_keep_alive_no_pings():
    peer = Peer()
    await peer.connect(keepalive_s=0)
    peer.ms += 1000000
    peer.client.keep_alive()
    assert peer.writer.data == b""


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


async def test_connections_leave_nothing_behind():
    peer = Peer()

    async def live():
        peer.reader.__init__()
        await peer.connect()
        peer.run()
        sent = asyncio.create_task(peer.client.publish("t", bytes(1000), 1))
        peer.reader.feed(publish(b"t", bytes(4096), 1) + publish(b"big", bytes(9000)))
        await peer.settle()
        peer.reader.end()
        await raises_async(LinkError, peer.running)
        await raises_async(LinkError, sent)
        peer.forget()

    for _ in range(20):
        await live()
    gc.collect()
    before = in_use()
    for _ in range(50):
        await live()
    gc.collect()
    assert in_use() - before < 1000, in_use() - before


def in_use():
    """Bytes on MicroPython; objects on CPython."""
    return gc.mem_alloc() if hasattr(gc, "mem_alloc") else len(gc.get_objects())
