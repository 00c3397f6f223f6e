# SPDX-License-Identifier: MIT
"""The board's blocking sockets, and the MQTT client that the firmware freezes on them."""

from __future__ import annotations

import pytest

from fleetling.demo.virtual import START
from fleetling.pki import make_authority
from fleetling.simboard.chip import air
from fleetling.simboard.inprocess import Board, Host, Net, ServerTls
from fleetling.simboard.inprocess.broker import Broker, Message

JOIN = """
import network, time, machine
machine.WDT(timeout=60000)
w = network.WLAN(network.STA_IF)
w.active(True)
w.connect("works", "open sesame")
while not w.isconnected():
    time.sleep_ms(100)
from umqtt.simple import MQTTClient, MQTTException
"""


class Bench:
    def __init__(self) -> None:
        self.net, self.air = Net(), air.Air()
        self.air.add("works", "open sesame")
        self.broker = Broker()
        self.seen: list[Message] = []
        self.broker.listeners.append(self.seen.append)
        self.host: Host = self.net.host("broker.lan", 1883, self.broker.door())

    def run(self, main: str, seconds: float = 300, **files: bytes) -> tuple[str, str]:
        """(why the life ended, what it printed)."""
        made = {"main.py": (JOIN + main).encode(), **files}
        with Board(files=made, net=self.net, air=self.air, unix=START) as board:
            return board.boot(seconds).reason, board.console


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_it_publishes_and_is_told(bench: Bench) -> None:
    _, said = bench.run(
        """
c = MQTTClient(b"me", "broker.lan", keepalive=30)
c.set_last_will(b"will", b"gone", True)
print("session", c.connect(), c.sock is not None)
c.set_callback(lambda topic, msg: print("got", topic, msg))
c.subscribe(b"a/#", 1)
c.publish("a/b", "text", True)
c.wait_msg()
c.publish(b"a/c", b"sure", qos=1)
print("none", c.check_msg())
c.ping()
print("pong", c.wait_msg())
c.disconnect()
"""
    )
    assert "session 0 True" in said and "got b'a/b' b'text'" in said, said
    assert "got b'a/c' b'sure'" in said and "none None" in said and "pong None" in said
    assert [(m.topic, m.retain) for m in bench.seen] == [("a/b", True), ("a/c", False)]


def test_only_a_time_out_or_the_watchdog_ends_a_silence(bench: Bench) -> None:
    bench.host.black_hole = True
    wait = "try:\n    c.connect({})\nexcept OSError as e:\n    print('errno', e.errno)\n"
    make = "c = MQTTClient('me', 'broker.lan')\n"
    assert "errno 116" in bench.run(make + wait.format("True, 5"), 30)[1]
    assert bench.run(make + wait.format(""))[0] == "wdt"
    bench.host.black_hole = False
    assert bench.run(make + "c.connect()\nc.wait_msg()")[0] == "wdt"


def test_tls_and_a_refusal(bench: Bench) -> None:
    authority = make_authority("CA", days=30000)
    server = authority.server(["safe.lan"], 30000)
    ca = authority.identity.certificate_der
    tls = ServerTls([server.certificate_der], server.key_der)
    door = bench.broker.door(login=lambda user, password: user == "me")
    bench.net.host("safe.lan", 8883, door, tls=tls)
    main = """
import ssl, ntptime
ntptime.settime()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.load_verify_locations(cadata=open("ca", "rb").read())
for user in ("me", "you"):
    c = MQTTClient("id", "safe.lan", user=user, password="x", ssl=context)
    try:
        print(user, c.connect(True, 10))
    except MQTTException as e:
        print(user, "refused", e)
context.load_verify_locations(cadata=open("other", "rb").read())
try:
    MQTTClient("id", "safe.lan", ssl=context).connect()
except ValueError as e:
    print("not trusted", e)
"""
    other = make_authority("other", days=30000).identity.certificate_der
    _, said = bench.run(main, 100, ca=ca, other=other)
    assert "me 0" in said and "you refused 4" in said and "not trusted" in said, said
