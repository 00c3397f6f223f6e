# SPDX-License-Identifier: MIT
"""When a board samples itself, what is told of the samples, and how seldom flash is asked."""

from support import FakeBoard

from agent.monitor import Heartbeat, report


class Board(FakeBoard):
    free = 100

    def heap(self):
        return {"free": self.free, "used": 1, "largest": 50, "least": 40}

    def temperature_c(self):
        return 45


class Runtime:
    """Board, supervisor, Wi-Fi and session at once."""

    connects = 0
    lag_ms = 0
    strength = None

    def __init__(self):
        self.board = Board()
        self.settings = {"heartbeat_s": 60}
        self.supervisor = self.wifi = self.session = self

    def rssi(self):
        return self.strength


class Done(Exception):
    pass


class Naps:
    """A task whose sleeps are noted; after some it ends."""

    def __init__(self, most):
        self.taken = []
        self.most = most
        self.after = lambda: None

    async def sleep(self, seconds):
        if len(self.taken) == self.most:
            raise Done()
        self.taken.append(seconds)
        self.after()


async def beats(runtime, naps):
    """At how many naps it reported."""
    heart = Heartbeat(runtime)
    told = []

    async def noted():
        told.append(len(naps.taken))

    heart._report = noted
    try:
        await heart.run(naps)
    except Done:
        return told
    raise AssertionError("it ended")


def taken(runtime, heart):
    return report._taken(runtime, heart, 160)


def test_least_mean_greatest_and_last_are_told_of_the_samples():
    runtime = Runtime()
    heart = Heartbeat(runtime)
    heart.since_s = 100
    for free, lag_ms in ((120, 7), (90, 300), (110, 4)):
        runtime.board.free = free
        runtime.lag_ms = lag_ms
        heart.sample()
        assert runtime.lag_ms == 0  # each sample has a worst delay of its own
    found = taken(runtime, heart)
    assert found["heap"] == [90, 106, 120, 110]
    assert found["lag_ms"] == [4, 103, 300, 4]
    assert found["block"] == [50] * 4 and found["temperature_c"] == [45] * 4
    assert "rssi" not in found  # there was no access point


def test_each_heartbeat_begins_afresh():
    runtime = Runtime()
    heart = Heartbeat(runtime)
    heart.since_s = 100
    runtime.strength = -80
    heart.sample()
    runtime.connects = 3
    first = taken(runtime, heart)
    assert first["rssi"] == [-80] * 4 and first["connects"] == [3] * 4
    runtime.strength = -50
    heart.sample()
    second = taken(runtime, heart)
    assert second["rssi"] == [-50] * 4 and second["connects"] == [0] * 4


async def test_the_first_heartbeat_comes_soon_and_others_after_six_samples():
    naps = Naps(20)
    told = await beats(Runtime(), naps)
    assert sum(naps.taken[: told[0]]) == 5
    assert [b - a for a, b in zip(told, told[1:])] == [6] * 3  # noqa: B905, RUF007
    assert set(naps.taken[told[0] :]) == {10}


async def test_a_long_interval_is_sampled_each_minute_and_a_short_one_once():
    runtime = Runtime()
    runtime.settings["heartbeat_s"] = 3600
    naps = Naps(130)
    told = await beats(runtime, naps)
    assert told[1:] == [told[0] + 60, told[0] + 120]
    runtime.settings["heartbeat_s"] = 0.5
    naps = Naps(5)
    assert await beats(runtime, naps) == [1, 2, 3, 4, 5] and naps.taken == [0.5] * 5


async def test_a_shorter_interval_counts_at_once():
    runtime = Runtime()
    runtime.settings["heartbeat_s"] = 86400
    naps = Naps(40)

    def shorter():
        if len(naps.taken) == 20:
            runtime.settings["heartbeat_s"] = 12

    naps.after = shorter
    told = await beats(runtime, naps)
    assert told[1] - 20 == 6 and told[2] - told[1] == 6
