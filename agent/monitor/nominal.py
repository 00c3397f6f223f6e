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

# name -> (limit's setting, whether more is worse, least difference that counts, may leak)
WATCHED = {
    "heap": ("limit_heap", False, 2048, True),
    "block": (None, False, 4096, True),
    "storage": ("limit_storage", False, 16384, True),
    "lag_ms": ("limit_lag_ms", True, 100, False),
    "rssi": (None, False, 8, False),
    "temperature_c": ("limit_temp_c", True, 5, False),
    "connects": (None, True, 3, False),
}
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
_N, _MEAN, _DEVIATION, _LATELY, _MARK, _AGE_S = 0, 1, 2, 3, 4, 5


class Nominal:
    """`kept` has what lasts between two heartbeats: `baselines`, name -> [n, mean, deviation,
    quick mean, mark, age of the mark], and `counts`, (name, kind) -> below zero, so many
    heartbeats towards raising; above, it is raised, and so many, less one, towards clearing.
    `alert(metric, kind, raised, value, limit)` is called when one is raised or cleared.
    """

    def __init__(self, settings, kept, alert):
        self._settings = settings
        self._states = kept.baselines
        self._counts = kept.counts
        self._alert = alert

    def judge(self, figures, span_s):
        """`figures` as `Metrics.take` gives them, of a heartbeat that lasted `span_s`."""
        for name in WATCHED:
            if name in figures:
                setting, more, floor, leaks = WATCHED[name]
                value = figures[name][2 if more else 0]
                if setting:
                    self._limit(name, value, self._settings[setting], more)
                self._learn(name, figures[name][1], more, floor, leaks, span_s)

    def _limit(self, name, value, limit, more):
        if not limit:
            return
        margin = max(abs(limit) // 10, 1)
        beyond = value > limit if more else value < limit
        within = value < limit - margin if more else value > limit + margin
        self._turn(name, "limit", beyond, within, value, limit)

    def _learn(self, name, value, more, floor, leaks, span_s):
        value <<= 4
        state = self._states.get(name)
        if state is None:
            self._states[name] = [1, value, 0, value, 0, 0]
            return
        mean = state[_MEAN]
        floor <<= 4
        if leaks:
            floor = max(floor, mean >> 3)
        deviation = max(state[_DEVIATION], floor >> 3)
        off = value - mean
        worse = off if more else -off
        state[_N] = min(state[_N] + 1, _WEIGHT)
        if state[_N] > _WARM:
            far = worse > max(_FAR * deviation, floor)
            near = worse < max(_NEAR * deviation, floor >> 1)
            self._turn(name, "step", far, near, value >> 4, mean >> 4)
            off = max(-_NEAR * deviation, min(_NEAR * deviation, off))
        state[_MEAN] += _part(off, state[_N])
        state[_DEVIATION] += _part(abs(off) - state[_DEVIATION], state[_N])
        if leaks:
            state[_LATELY] += _part(value - state[_LATELY], _QUICK)
            self._leak(name, state, span_s)

    def _leak(self, name, state, span_s):
        left = state[_LATELY]
        state[_AGE_S] += span_s
        if state[_N] <= _WARM:
            state[_MARK], state[_AGE_S] = left, 0
        if state[_AGE_S] < _LEAST_S:
            return
        in_a_day = (state[_MARK] - left >> 4) * _DAY_S // state[_AGE_S]
        leaking = in_a_day > left >> 4
        self._turn(name, "leak", leaking, not leaking, left >> 4, in_a_day)
        if state[_AGE_S] > _MOST_S and not leaking:
            state[_MARK], state[_AGE_S] = left, 0

    def _turn(self, name, kind, bad, good, value, limit):
        """Raises after some bad ones in a row, clears after some good ones."""
        key = (name, kind)
        count = self._counts.get(key, 0)
        if count <= 0:
            count = count - 1 if bad else 0
            if count <= -_RAISE:
                count = 1
                self._alert(name, kind, True, value, limit)
        else:
            count = count + 1 if good else 1
            if count > _CLEAR:
                count = 0
                self._alert(name, kind, False, value, limit)
        self._counts[key] = count


def _part(value, count):
    """One part of `count`, away from zero, so that what is small moves at all."""
    return -(-value // count) if value > 0 else value // count
