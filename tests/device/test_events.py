# SPDX-License-Identifier: MIT
import json
import os

from support import quiet_log, raises_async

from agent.errors import LinkError
from agent.link.events import LIMIT, Events
from agent.storage import files

PATH = "/tmp/fleetling-test-events"


class FakeClock:
    known = True

    def now(self):
        return 1000

    def uptime_s(self):
        return 5

    def synced(self):
        return self.known


def make(path=PATH):
    return Events(quiet_log([]), FakeClock(), path)


def fresh(path=PATH):
    for name in (path, path + ".new"):
        try:
            os.remove(name)
        except OSError:
            pass  # the run before left none
    return make(path)


class Broker:
    """Takes what is published; loses the link after `good` messages."""

    def __init__(self, good=1000):
        self.good = good
        self.got = []

    async def publish(self, payload):
        if len(self.got) >= self.good:
            raise LinkError("mqtt-closed")
        self.got.append(json.loads(payload))

    def numbers(self):
        return [event["seq"] for event in self.got]


async def test_events_arrive_in_order_with_their_detail():
    events = fresh()
    events.add("boot", boot=1, cause="power-on")
    events.add("update", state="idle")
    broker = Broker()
    await events.flush(broker.publish)
    assert broker.got == [
        {"seq": 1, "up": 5, "at": 1000, "code": "boot", "boot": 1, "cause": "power-on"},
        {"seq": 2, "up": 5, "at": 1000, "code": "update", "state": "idle"},
    ]
    assert events.waiting() == 0


async def test_what_did_not_arrive_survives_a_reset_and_numbers_go_on():
    events = fresh()
    for _ in range(5):
        events.add("x")
    broker = Broker(2)
    await raises_async(LinkError, events.flush(broker.publish))
    events = make()  # a reset: what arrived may come twice, what did not must come
    events.add("y")
    second = Broker()
    await events.flush(second.publish)
    assert set(broker.numbers() + second.numbers()) == {1, 2, 3, 4, 5, 6}
    assert second.numbers() == sorted(second.numbers())
    events = make()
    events.add("z")
    third = Broker()
    await events.flush(third.publish)
    assert third.numbers() == [7]


async def test_past_the_limit_the_oldest_go_and_the_file_stays_bounded():
    events = fresh()
    for _ in range(3 * LIMIT):
        events.add("x")
    assert events.waiting() == LIMIT
    assert len(files.read(PATH)) < 48 * (LIMIT + 2)
    broker = Broker()
    await make().flush(broker.publish)
    assert broker.numbers() == list(range(2 * LIMIT + 1, 3 * LIMIT + 1))


async def test_a_spoilt_file_loses_only_the_spoilt_lines():
    events = fresh()
    for _ in range(3):
        events.add("x")
    data = files.read(PATH).split(b"\n")
    data[1] = b"\xff{garbage"
    files.replace(PATH, b"\n".join(data) + b'{"seq":"7"}\n[1]\n{"seq":4,"co')
    broker = Broker()
    make().add("y")
    await make().flush(broker.publish)
    assert broker.numbers() == [1, 3, 4]


async def test_an_event_that_comes_while_another_is_sent_is_sent_too():
    events = fresh()
    events.add("first")
    got = []

    async def publish(payload):
        if not got:
            events.add("second")
        got.append(json.loads(payload)["code"])

    await events.flush(publish)
    assert got == ["first", "second"]


async def test_without_a_file_system_events_still_go_out():
    events = make("/no/such/folder/events")
    events.add("boot")
    broker = Broker()
    await events.flush(broker.publish)
    assert broker.numbers() == [1]


async def test_a_board_that_does_not_know_the_time_gives_none():
    events = fresh()
    events._clock.known = False
    events.add("boot")
    broker = Broker()
    await events.flush(broker.publish)
    assert broker.got == [{"seq": 1, "up": 5, "code": "boot"}]


async def test_what_goes_while_another_is_under_way_takes_no_other_with_it():
    events = fresh()
    events.add("first")
    broker = Broker()

    async def publish(payload):
        await broker.publish(payload)
        if len(broker.got) == 1:  # so many come meanwhile that the first makes room
            for _ in range(LIMIT):
                events.add("later")

    await events.flush(publish)
    assert broker.numbers() == list(range(1, LIMIT + 2))


async def test_a_link_that_breaks_after_each_event_leaves_the_file_bounded():
    events = fresh()
    for number in range(5):
        events.add("n", n=number)
    for number in range(5, 500):
        await raises_async(LinkError, events.flush(Broker(good=1).publish))
        events.add("n", n=number)
    assert events.waiting() == 5
    assert len(files.read(PATH).split(b"\n")) < 3 * LIMIT
    broker = Broker()
    await make().flush(broker.publish)
    assert broker.numbers()[-5:] == [496, 497, 498, 499, 500]
