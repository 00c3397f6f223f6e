# SPDX-License-Identifier: MIT
"""Heartbeats of a board that is away: thinned, bounded, in order, whatever is cut."""

import json
import os

from support import raises_async

from agent.errors import LinkError
from agent.monitor import backlog
from agent.storage import files

PATH = "/tmp/fleetling-test-backlog"


class FakeSession:
    def __init__(self, lost_after=1000):
        self.sent = []
        self.left = lost_after

    async def publish(self, topic, payload, qos=0, retain=False):
        if not self.left:
            raise LinkError("link-lost")
        self.left -= 1
        assert topic == "up/health" and qos == 1
        self.sent.append(json.loads(payload))


def fresh():
    backlog.PATH = PATH
    for path in (PATH, PATH + ".new"):
        try:
            os.remove(path)
        except OSError:
            pass  # the run before left none


def beat(up):
    return {"boot": 3, "up": up, "span_s": 60, "m": {"heap": [1, 2, 3, 4]}, "link": {"in": 5}}


class Heart:
    def __init__(self):
        self.away = 0
        self.stride = 1
        self.owes = False


def absence(heartbeats):
    """Keeps what there is to keep of so many."""
    heart = Heart()
    for n in range(1, heartbeats + 1):
        heart.away = n
        if n % heart.stride == 0:  # it looks itself; this is for the test to be quick
            backlog.keep(beat(60 * n), heart)
    return heart


async def test_a_short_absence_is_kept_whole():
    fresh()
    assert absence(7).owes
    session = FakeSession()
    await backlog.send(session, Heart())
    assert [sent["up"] // 60 for sent in session.sent] == [1, 2, 3, 4, 5, 6, 7]
    assert all([sent["late"] is True and "link" not in sent for sent in session.sent])
    assert files.read(PATH) is None
    await backlog.send(session, Heart())
    assert len(session.sent) == 7


def test_one_in_a_stride_is_kept():
    fresh()
    heart = Heart()
    heart.stride, heart.away = 4, 3
    backlog.keep(beat(1), heart)
    assert not heart.owes and files.read(PATH) is None


async def test_a_year_away_stays_bounded_and_in_sight():
    fresh()
    heart = absence(60 * 24 * 365)
    assert len(files.read(PATH)) < 48 * 200
    assert heart.stride > 10_000
    session = FakeSession()
    await backlog.send(session, Heart())
    ups = [sent["up"] for sent in session.sent]
    assert 24 <= len(ups) <= 48 and ups == sorted(ups)
    assert ups[0] < 30 * 86400 and ups[-1] > 330 * 86400
    assert max([ups[i + 1] - ups[i] for i in range(len(ups) - 1)]) < 40 * 86400


async def test_a_link_that_breaks_loses_nothing():
    fresh()
    absence(7)
    first = FakeSession(lost_after=3)
    await raises_async(LinkError, backlog.send(first, Heart()))
    second = FakeSession()
    await backlog.send(second, Heart())
    assert len(second.sent) == 7 and second.sent[:3] == first.sent


async def test_a_line_that_the_power_cut_is_passed_over():
    fresh()
    absence(8)
    with open(PATH, "ab") as file:
        file.write(b'{"boot": 3, "up"')
    session = FakeSession()
    await backlog.send(session, Heart())
    assert len(session.sent) == 8


def test_what_is_too_long_is_not_kept():
    fresh()
    huge = beat(1)
    huge["gauges"] = {"g": "x" * 2000}
    heart = Heart()
    backlog.keep(huge, heart)
    assert not heart.owes and files.read(PATH) is None
