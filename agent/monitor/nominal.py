# SPDX-License-Identifier: MIT
"""Is a figure as it should be? Fixed limits, and a baseline that is learned.

Each heartbeat is judged once. Three kinds of alert, each raised once and cleared once:
- "limit": beyond a limit of the settings for two heartbeats; within it by a margin for three;
- "step": worse than the learned mean by more than eight times the usual deviation, for two
  heartbeats. The baseline goes on learning, so what lasts becomes normal, and the alert ends;
- "leak": at the rate of the last hours, used up within a day.

The baseline of a figure is six small integers: exponentially weighted mean and mean absolute
deviation, in sixteenths, moved by an outlier no more than by three deviations; a mean that follows
quickly, and what that was a while ago.
"""

from micropython import const

# (name, limit's setting, whether more is worse, least difference that counts, may leak)
WATCHED = (
    ("heap", "limit_heap", False, 2048, True),
    ("block", None, False, 4096, True),
    ("storage", "limit_storage", False, 16384, True),
    ("lag_ms", "limit_lag_ms", True, 100, False),
    ("rssi", None, False, 8, False),
    ("temperature_c", "limit_temp_c", True, 5, False),
    ("connects", None, True, 3, False),
)
_WARM = const(12)  # heartbeats until the baseline is trusted,
_WEIGHT = const(32)  # and those that it is made of later
_FAR = const(8)  # deviations
_NEAR = const(3)
_RAISE = const(2)  # heartbeats in a row
_CLEAR = const(3)
_DAY_S = const(86400)
_LEAST_S = const(3600)  # a trend is looked at when it is as old as this,
_MOST_S = const(6 * 3600)  # and begins anew after this when there is none
_QUICK = const(4)  # heartbeats that the quick mean is made of
# What is kept of a figure, in a row: heartbeats so far, mean, deviation, quick mean, mark, age of
# the mark; then a count for each kind of alert: below zero, so many heartbeats towards raising;
# above, it is raised, and so many, less one, towards clearing.
_N, _MEAN, _DEVIATION, _LATELY, _MARK, _AGE_S, _COUNTS = 0, 1, 2, 3, 4, 5, 6
_KINDS = ("limit", "step", "leak")
SIZE = const(9)


class Nominal:
    """`learned` is a list, empty at first, of what lasts between two heartbeats: small integers,
    SIZE for each figure that is watched. `alert(metric, kind, raised, value, limit)` is called
    when one is raised or cleared.
    """

    def __init__(self, settings, learned, alert):
        if not learned:
            learned.extend([0] * (SIZE * len(WATCHED)))
        self._settings = settings
        self._learned = learned
        self._alert = alert

    def judge(self, figures, span_s):
        """`figures` as a heartbeat tells them, of one that lasted `span_s`."""
        at = 0
        for name, setting, more, floor, leaks in WATCHED:
            if name in figures:
                value = figures[name][2 if more else 0]
                if setting:
                    self._limit(at, value, self._settings[setting], more)
                self._learn(at, figures[name][1], more, floor, leaks, span_s)
            at += SIZE

    def _limit(self, at, value, limit, more):
        if not limit:
            return
        margin = max(abs(limit) // 10, 1)
        beyond = value > limit if more else value < limit
        within = value < limit - margin if more else value > limit + margin
        self._turn(at, 0, beyond, within, value, limit)

    def _learn(self, at, value, more, floor, leaks, span_s):
        value <<= 4
        state = self._learned
        if not state[at + _N]:
            state[at + _N] = 1
            state[at + _MEAN] = state[at + _LATELY] = value
            return
        mean = state[at + _MEAN]
        floor <<= 4
        if leaks:
            floor = max(floor, mean >> 3)
        deviation = max(state[at + _DEVIATION], floor >> 3)
        off = value - mean
        worse = off if more else -off
        count = state[at + _N] = min(state[at + _N] + 1, _WEIGHT)
        if count > _WARM:
            far = worse > max(_FAR * deviation, floor)
            near = worse < max(_NEAR * deviation, floor >> 1)
            self._turn(at, 1, far, near, value >> 4, mean >> 4)
            off = max(-_NEAR * deviation, min(_NEAR * deviation, off))
        state[at + _MEAN] += _part(off, count)
        state[at + _DEVIATION] += _part(abs(off) - state[at + _DEVIATION], count)
        if leaks:
            state[at + _LATELY] += _part(value - state[at + _LATELY], _QUICK)
            self._leak(at, span_s)

    def _leak(self, at, span_s):
        state = self._learned
        left = state[at + _LATELY]
        state[at + _AGE_S] += span_s
        if state[at + _N] <= _WARM:
            state[at + _MARK], state[at + _AGE_S] = left, 0
        age_s = state[at + _AGE_S]
        if age_s < _LEAST_S:
            return
        in_a_day = (state[at + _MARK] - left >> 4) * _DAY_S // age_s
        leaking = in_a_day > left >> 4
        self._turn(at, 2, leaking, not leaking, left >> 4, in_a_day)
        if age_s > _MOST_S and not leaking:
            state[at + _MARK], state[at + _AGE_S] = left, 0

    def _turn(self, at, kind, bad, good, value, limit):
        """Raises after some bad ones in a row, clears after some good ones."""
        place = at + _COUNTS + kind
        count = self._learned[place]
        name = WATCHED[at // SIZE][0]
        if count <= 0:
            count = count - 1 if bad else 0
            if count <= -_RAISE:
                count = 1
                self._alert(name, _KINDS[kind], True, value, limit)
        else:
            count = count + 1 if good else 1
            if count > _CLEAR:
                count = 0
                self._alert(name, _KINDS[kind], False, value, limit)
        self._learned[place] = count


def _part(value, count):
    """One part of `count`, away from zero, so that what is small moves at all."""
    return -(-value // count) if value > 0 else value // count
