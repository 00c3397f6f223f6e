# SPDX-License-Identifier: MIT
"""The broker of virtual time beside mosquitto: the same conversations, the same answers."""

from __future__ import annotations

import asyncio
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from fleetling.broker.process import find_mosquitto, free_port
from fleetling.simboard.inprocess.broker import Broker

HOST = "127.0.0.1"


@contextmanager
def virtual() -> Iterator[int]:
    """The broker of virtual time, served on real time."""
    port, ready = free_port(), threading.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        server = await asyncio.start_server(Broker().door(), HOST, port)
        ready.set()
        async with server:
            await server.serve_forever()

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(serve())

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(5)
    yield port
    for task in asyncio.all_tasks(loop):
        loop.call_soon_threadsafe(task.cancel)
    thread.join(5)


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    port = free_port()
    (folder / "mosquitto.conf").write_text(f"listener {port} {HOST}\nallow_anonymous true\n")
    program = find_mosquitto()
    assert program is not None
    process = subprocess.Popen(
        [program, "-c", str(folder / "mosquitto.conf")], stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(params=["virtual", "mosquitto"])
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    with virtual() if request.param == "virtual" else mosquitto(tmp_path) as opened:
        yield opened


class Client:
    """paho with a queue of what it hears: (topic, payload, retained, duplicate)."""

    def __init__(self, port: int, name: str, **options: Any) -> None:
        will = options.pop("will", None)
        self.heard: queue.SimpleQueue[tuple[str, bytes, bool, bool]] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=name, manual_ack=True, **options
        )
        if will:
            self.client.will_set(*will)
        self.client.on_connect = lambda *a: self._ready.put(a[2].session_present)
        self.client.on_subscribe = lambda *a: self._ready.put(None)
        self.client.on_message = self._take
        self.acknowledges = True
        self.client.connect(HOST, port)
        self.client.loop_start()
        self.session_present = self._ready.get(timeout=5)

    def _take(self, client: mqtt.Client, data: Any, message: mqtt.MQTTMessage) -> None:
        if self.acknowledges:
            client.ack(message.mid, message.qos)
        self.heard.put((message.topic, bytes(message.payload), message.retain, message.dup))

    def subscribe(self, topic: str) -> None:
        self.client.subscribe(topic, 1)
        self._ready.get(timeout=5)

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self.client.publish(topic, payload, 1, retain).wait_for_publish(5)

    def hears(self) -> tuple[str, bytes, bool, bool] | None:
        try:
            return self.heard.get(timeout=0.7)
        except queue.Empty:
            return None

    def vanish(self) -> None:
        """The line is cut: no DISCONNECT."""
        self.client.loop_stop()
        sock = self.client.socket()
        assert sock is not None
        sock.close()

    def leave(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_retained_messages_come_at_once_and_an_empty_one_clears(port: int) -> None:
    first = Client(port, "first")
    first.publish("a/b", b"kept", retain=True)
    second = Client(port, "second")
    second.subscribe("a/+")
    assert second.hears() == ("a/b", b"kept", True, False)
    first.publish("a/b", b"", retain=True)
    assert second.hears() == ("a/b", b"", False, False)
    third = Client(port, "third")
    third.subscribe("a/#")
    assert third.hears() is None
    for client in (first, second, third):
        client.leave()


def test_a_last_will_is_sent_for_who_vanishes_and_not_for_who_leaves(port: int) -> None:
    watcher = Client(port, "watcher")
    watcher.subscribe("will/#")
    Client(port, "polite", will=("will/polite", b"gone", 1, False)).leave()
    assert watcher.hears() is None
    Client(port, "sudden", will=("will/sudden", b"gone", 1, False)).vanish()
    assert watcher.hears() == ("will/sudden", b"gone", False, False)
    watcher.leave()


def test_what_was_not_acknowledged_comes_again_to_a_kept_session(port: int) -> None:
    keeper = Client(port, "keeper", clean_session=False)
    assert not keeper.session_present
    keeper.subscribe("q/#")
    keeper.acknowledges = False
    sender = Client(port, "sender")
    sender.publish("q/1", b"first")
    assert keeper.hears() == ("q/1", b"first", False, False)
    keeper.vanish()
    sender.publish("q/2", b"while away")
    again = Client(port, "keeper", clean_session=False)
    assert again.session_present
    assert again.hears() == ("q/1", b"first", False, True)
    assert again.hears() == ("q/2", b"while away", False, False)
    for client in (again, sender):
        client.leave()


def test_a_second_client_of_the_same_id_takes_over(port: int) -> None:
    watcher = Client(port, "watcher")
    watcher.subscribe("will/#")
    first = Client(port, "same", will=("will/same", b"gone", 1, False))
    first.client.loop_stop()  # it will not come back by itself
    second = Client(port, "same")
    assert watcher.hears() == ("will/same", b"gone", False, False)
    for client in (second, watcher):
        client.leave()


def raw(port: int, *packets: bytes) -> bytes:
    """Sends bytes, and reads until the broker hangs up."""
    with socket.create_connection((HOST, port), timeout=10) as sock:
        for packet in packets:
            sock.sendall(packet)
        got = b""
        while data := sock.recv(100):
            got += data
        return got


CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x01\x00\x01x"  # keep-alive of one second


def test_a_silent_client_is_thrown_out(port: int) -> None:
    started = time.monotonic()
    assert raw(port, CONNECT) == b"\x20\x02\x00\x00"
    assert 1 <= time.monotonic() - started < 8


@pytest.mark.parametrize(
    "packet",
    [
        b"\xf0\x00",
        CONNECT,
        b"\x82\x02\x00\x01",
        b"\x30\x05\x00\x03a/#",
        b"\x36\x07\x00\x01a\x00\x01",
    ],
)
def test_what_breaks_the_protocol_ends_the_connection(port: int, packet: bytes) -> None:
    assert raw(port, CONNECT, packet) == b"\x20\x02\x00\x00"
