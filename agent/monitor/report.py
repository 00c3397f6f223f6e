# SPDX-License-Identifier: MIT
"""One heartbeat: what it says, whether that is as it should be, and where it goes.

Loaded for each, then released; what lasts is in `agent.monitor`. Names stay, and are few for that
(decision 0016).

Each heartbeat is judged once, by fixed limits and by a baseline that is learned. Three kinds of
alert, each raised once and cleared once:
- "limit": beyond a limit of the settings for two heartbeats; within it by a margin for three;
- "step": worse than the learned mean by more than eight times the usual deviation, for two
  heartbeats. The baseline goes on learning, so what lasts becomes normal, and the alert ends;
- "leak": at the rate of the last hours, used up within a day.

The baseline of a figure is six small integers: exponentially weighted mean and mean absolute
deviation, in sixteenths, moved by an outlier no more than by three deviations; a mean that follows
quickly, and what that was a while ago.
"""

from micropython import const

from agent.errors import AgentError, LinkError

# To be released after a heartbeat: this module, and what it loads.
LOADED = ("monitor.report", "monitor.backlog", "storage.files", "facts")
_TOPIC = const("up/health")
_HOUR_S = const(3600)
_SAMPLED = const(
    ("heap", "block", "least", "lag_ms", "rssi", "temperature_c")  # as `Heartbeat` has them
)
_ALARMING = const(("tls-ca", "tls-name", "tls-revoked", "tls-expired", "command-refused"))

# (name, limit's setting, whether more is worse, least difference that counts); what may leak first
WATCHED = (
    ("heap", "limit_heap", False, 2048),
    ("block", None, False, 4096),
    ("storage", "limit_storage", False, 16384),
    ("lag_ms", "limit_lag_ms", True, 100),
    ("rssi", None, False, 8),
    ("temperature_c", "limit_temp_c", True, 5),
    ("connects", None, True, 3),
)
_LEAKING = const(3)
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
# What is kept of figure n: small counts from 4 * n on; from 2 * n on, mean and deviation; from
# _TRENDS + 3 * n on, if it may leak, the quick mean, the mark and the mark's age.
_TRENDS = const(14)
_KEPT = const(23)
_KINDS = const(("limit", "step", "leak"))  # of alerts: each has a count, and then
_BEATS = const(3)  # there are heartbeats so far, as many as make a difference


async def beat(runtime, heart):
    """Judges and sends, or keeps for later."""

    def alert(metric, kind, raised, value, limit):
        text = "{} {} raised: {} {}" if raised else "{} {} cleared: {} {}"
        runtime.log.warning("alert", text.format(metric, kind, value, limit))
        runtime.events.add(
            "alert", metric=metric, kind=kind, raised=raised, value=value, limit=limit
        )

    document = _document(runtime, heart)
    Nominal(runtime.settings, heart, alert).judge(document["m"], document["span_s"])
    _security(runtime, heart)
    try:
        if not await _sent(runtime.session, document, heart):
            from agent.monitor import backlog

            heart.away += 1
            backlog.keep(document, heart)
    except AgentError as e:  # flash has not taken it
        runtime.log.error("health", e.code)


async def _sent(session, document, heart):
    """Sends what is owed, and this heartbeat; whether the broker could be reached for it."""
    if not session.connected():
        return False
    try:
        if heart.owes:
            from agent.monitor import backlog

            await backlog.send(session, heart)
            heart.stride = 1
        await session.publish(_TOPIC, document)
    except LinkError:
        return False  # the session reports the loss itself
    heart.away = 0
    return True


def _document(runtime, heart):
    """Bytes, seconds, milliseconds, dBm, degrees Celsius (docs/wire.md)."""
    supervisor = runtime.supervisor
    now = runtime.board.uptime_s()
    tasks = {}  # busy ms and the longest step in ms since the last heartbeat, restarts since ever
    for name, task in supervisor.tasks.items():
        tasks[name] = [task.busy_us // 1000, task.worst_us // 1000, task.restarts]
        task.busy_us = task.worst_us = 0
    document = {
        "boot": supervisor.boot["count"],
        "up": now,
        "span_s": now - heart.since_s,
        "m": _taken(runtime, heart, now),
        "tasks": tasks,
        "link": runtime.session.figures(),
    }
    heart.since_s = now
    if runtime.clock.synced():
        document["at"] = runtime.clock.now()
    own = heart.metrics
    if own and own.counts:
        document["counts"] = own.counts
    if own and own.gauges:
        document["gauges"] = own.gauges
    return document


def _taken(runtime, heart, now):
    """{name: [least, mean, greatest, last]} since the last heartbeat."""
    taken = {}
    figures = heart.figures
    for at, name in enumerate(_SAMPLED):
        count, least, total, greatest, last = figures[5 * at : 5 * at + 5]
        if count:
            taken[name] = [least, total // count, greatest, last]
        figures[5 * at] = figures[5 * at + 2] = 0
    connects = runtime.session.connects
    taken["connects"] = [connects - heart.connects] * 4
    heart.connects = connects
    # littlefs and NVS look at all of themselves to say how full they are: once an hour
    if not heart.since_s or heart.since_s // _HOUR_S != now // _HOUR_S:
        from agent import facts

        taken["storage"] = [runtime.board.storage()["free"]] * 4
        try:
            taken["nvs"] = [facts.nvs_free()] * 4
        except (AgentError, OSError):
            pass  # a table of another layout has none
    return taken


def _security(runtime, heart):
    """Tells of what an attacker would cause: the first time, and each time it has doubled."""
    for code, count in runtime.session.failures.items():
        if code in _ALARMING and count >= heart.told.get(code, 1):
            heart.told[code] = 2 * count
            runtime.events.add("security", kind=code, count=count)


class Nominal:
    """What lasts between two heartbeats is in `heart`: `learned`, a list of small integers, and
    `counts`, a bytearray; both None at first. `alert(metric, kind, raised, value, limit)` is
    called when one is raised or cleared.
    """

    def __init__(self, settings, heart, alert):
        if heart.learned is None:
            heart.learned = [0] * _KEPT
            heart.counts = bytearray(4 * len(WATCHED))
        self.settings = settings
        self.learned = heart.learned
        self.counts = heart.counts
        self.alert = alert

    def judge(self, figures, span_s):
        """`figures` as a heartbeat tells them, of one that lasted `span_s`."""
        for number, (name, setting, more, floor) in enumerate(WATCHED):
            if name in figures:
                least, mean, greatest, _ = figures[name]
                if setting:
                    self._limit(number, greatest if more else least, self.settings[setting], more)
                self._learn(number, mean << 4, more, floor << 4)
                if number < _LEAKING:
                    self._leak(number, mean << 4, span_s)

    def _limit(self, number, value, limit, more):
        margin = max(abs(limit) // 10, 1)
        beyond = limit and (value > limit if more else value < limit)
        within = not limit or (value < limit - margin if more else value > limit + margin)
        self._turn(number, 0, beyond, within, value, limit)

    def _learn(self, number, value, more, floor):
        """Moves the baseline towards `value`; both in sixteenths."""
        learned = self.learned
        at = 2 * number
        count = min(self.counts[4 * number + _BEATS] + 1, _WEIGHT)
        self.counts[4 * number + _BEATS] = count
        if count == 1:
            learned[at] = value
            return
        mean, deviation = learned[at : at + 2]
        if number < _LEAKING:
            floor = max(floor, mean >> 3)
        usual = max(deviation, floor >> 3)
        off = value - mean
        if count > _WARM:
            worse = off if more else -off
            far = worse > max(_FAR * usual, floor)
            near = worse < max(_NEAR * usual, floor >> 1)
            self._turn(number, 1, far, near, value >> 4, mean >> 4)
            off = max(-_NEAR * usual, min(_NEAR * usual, off))
        learned[at] = mean + _part(off, count)
        learned[at + 1] = deviation + _part(abs(off) - deviation, count)

    def _leak(self, number, value, span_s):
        at = _TRENDS + 3 * number
        left, mark, age_s = self.learned[at : at + 3]
        count = self.counts[4 * number + _BEATS]
        left = value if count == 1 else left + _part(value - left, _QUICK)
        age_s += span_s
        if count <= _WARM:
            mark, age_s = left, 0
        if age_s >= _LEAST_S:
            in_a_day = (mark - left >> 4) * _DAY_S // age_s
            leaking = in_a_day > left >> 4
            self._turn(number, 2, leaking, not leaking, left >> 4, in_a_day)
            if age_s > _MOST_S and not leaking:
                mark, age_s = left, 0
        self.learned[at : at + 3] = left, mark, age_s

    def _turn(self, number, kind, bad, good, value, limit):
        """Raises after some bad ones in a row, clears after some good ones. The count is of bad
        ones below _RAISE; above, it is raised, and of good ones."""
        place = 4 * number + kind
        count = self.counts[place]
        name = WATCHED[number][0]
        if count < _RAISE:
            count = count + 1 if bad else 0
            if count == _RAISE:
                self.alert(name, _KINDS[kind], True, value, limit)
        else:
            count = count + 1 if good else _RAISE
            if count == _RAISE + _CLEAR:
                count = 0
                self.alert(name, _KINDS[kind], False, value, limit)
        self.counts[place] = count


def _part(value, count):
    """One part of `count`, away from zero, so that what is small moves at all."""
    return -(-value // count) if value > 0 else value // count
