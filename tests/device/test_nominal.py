# SPDX-License-Identifier: MIT
"""Limits and learned baselines, on figures that tests make up."""

from agent.monitor.report import WATCHED, Nominal

LIMITS = {"limit_heap": 8192, "limit_storage": 32768, "limit_lag_ms": 5000, "limit_temp_c": 90}
BEAT_S = 60
HOUR = 60  # heartbeats


class Watched:
    """One board, as the monitor sees it."""

    def __init__(self, limits=LIMITS):
        self.learned = self.counts = None
        self.limits = limits
        self.alerts = []
        self.beats = 0
        self._random = 12345

    def noise(self, most):
        """A whole number from -most to most (a linear congruential generator: it repeats)."""
        self._random = (self._random * 1103515245 + 12345) & 0x7FFFFFFF
        return (self._random >> 8) % (2 * most + 1) - most

    def beat(self, span_s=BEAT_S, **figures):
        def alert(metric, kind, raised, value, limit):
            self.alerts.append((self.beats, metric, kind, raised))

        made = {name: [value, value, value, value] for name, value in figures.items()}
        Nominal(self.limits, self, alert).judge(made, span_s)
        self.beats += 1

    def mean(self, metric):
        """What it has learned of one."""
        (at,) = [n for n, watched in enumerate(WATCHED) if watched[0] == metric]
        return self.learned[2 * at]

    def quiet(self, beats):
        for _ in range(beats):
            self.beat(
                heap=112000 + self.noise(1500),
                block=100000 + self.noise(3000),
                lag_ms=20 + self.noise(15),
                rssi=-60 + self.noise(4),
                temperature_c=45 + self.noise(2),
                connects=0,
            )


def test_a_limit_is_raised_once_and_cleared_once_with_a_margin():
    board = Watched()
    for heap in (20000, 8000, 20000, 8000, 8000, 8000, 8500, 8500, 8500, 8500):
        board.beat(heap=heap)
    assert board.alerts == [(4, "heap", "limit", True)]
    for heap in (10000, 8000, 10000, 10000):
        board.beat(heap=heap)
    assert len(board.alerts) == 1
    board.beat(heap=10000)
    assert board.alerts[1:] == [(14, "heap", "limit", False)]
    board.beat(heap=10000)
    assert len(board.alerts) == 2


def test_a_limit_of_zero_is_none():
    board = Watched(dict([(name, 0) for name in LIMITS]))
    for _ in range(10):
        board.beat(heap=1, temperature_c=200, lag_ms=50000, storage=0)
    assert not board.alerts


def test_an_alert_is_cleared_where_its_limit_is_taken_away():
    board = Watched()
    for _ in range(3):
        board.beat(heap=1, temperature_c=200, lag_ms=50000, storage=0)
    assert len(board.alerts) == 4
    board.limits = dict([(name, 0) for name in LIMITS])
    for _ in range(6):
        board.beat(heap=1, temperature_c=200, lag_ms=50000, storage=0)
    assert len(board.alerts) == 8 and not any([raised for _, _, _, raised in board.alerts[4:]])


def test_a_quiet_week_raises_nothing():
    board = Watched()
    board.quiet(7 * 24 * HOUR)
    assert board.alerts == []


def test_a_day_and_night_rhythm_raises_nothing():
    board = Watched()
    for beat in range(7 * 24 * HOUR):
        phase = beat % (24 * HOUR)
        warm = 30 + (phase if phase < 12 * HOUR else 24 * HOUR - phase) * 20 // (12 * HOUR)
        used = (phase if phase < 12 * HOUR else 24 * HOUR - phase) * 8000 // (12 * HOUR)
        board.beat(
            heap=112000 - used + board.noise(1000),
            temperature_c=warm + board.noise(2),
            rssi=-70 + board.noise(6),
            lag_ms=20 + board.noise(20),
        )
    assert board.alerts == []


def test_a_step_is_found_within_two_heartbeats_and_becomes_normal():
    for metric, before, after, noise in (
        ("lag_ms", 20, 400, 15),
        ("rssi", -55, -90, 3),
        ("heap", 112000, 80000, 1000),
        ("temperature_c", 45, 70, 1),
        ("connects", 0, 8, 0),
    ):
        board = Watched()
        for _ in range(2 * HOUR):
            board.beat(**{metric: before + board.noise(noise)})
        assert not board.alerts
        at = board.beats
        for _ in range(12 * HOUR):
            board.beat(**{metric: after + board.noise(noise)})
        steps = [alert for alert in board.alerts if alert[2] == "step"]
        assert [alert[3] for alert in steps] == [True, False], (metric, steps)
        assert steps[0][0] - at < 2 and steps[1][0] - at > 5, metric


def test_better_is_no_step():
    board = Watched()
    board.quiet(2 * HOUR)
    for _ in range(HOUR):
        board.beat(heap=150000, lag_ms=0, rssi=-20, temperature_c=5)
    assert not board.alerts


def test_one_outlier_is_no_step_and_moves_the_baseline_little():
    board = Watched()
    board.quiet(2 * HOUR)
    mean = board.mean("lag_ms")
    board.beat(lag_ms=30000)
    assert not board.alerts
    assert abs(board.mean("lag_ms") - mean) < 100 << 4


def test_a_leak_of_a_hundred_bytes_a_minute_is_found_while_most_is_left():
    for quiet in (HOUR, 48 * HOUR):
        board = Watched()
        board.quiet(quiet)
        heap = 112000
        while not [alert for alert in board.alerts if alert[2] == "leak"]:
            heap -= 100
            board.beat(heap=heap + board.noise(500))
            assert heap > 80000, (quiet, board.learned)
        assert board.alerts[-1][1:] == ("heap", "leak", True)
        for _ in range(60 * HOUR):  # mended
            board.beat(heap=112000 + board.noise(500))
        assert board.alerts[-1][1:] == ("heap", "leak", False)


def test_a_leak_is_found_at_any_interval():
    for span_s in (10, 60, 600):
        board = Watched()
        for _ in range(40):
            board.beat(span_s, heap=112000 + board.noise(300))
        heap = 112000
        while not [alert for alert in board.alerts if alert[2] == "leak"]:
            heap -= 100 * span_s // 60
            board.beat(span_s, heap=heap + board.noise(300))
            assert heap > 50000, span_s


def test_what_is_kept_of_a_figure_is_small():
    board = Watched()
    board.quiet(10 * HOUR)
    assert len(board.learned) + len(board.counts) // 4 <= 32
    assert len(board.counts) == 4 * len(WATCHED)
    assert all([isinstance(value, int) and abs(value) < 1 << 30 for value in board.learned])
