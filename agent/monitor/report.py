# SPDX-License-Identifier: MIT
"""One heartbeat: what it says, whether that is as it should be, and where it goes.

Loaded for each, then released; what lasts is in `heartbeat`.
"""

from micropython import const

from agent.errors import AgentError, LinkError
from agent.monitor import nominal

_STORAGE_S = const(3600)  # littlefs looks at all of itself to say how full it is
_SAMPLED = ("heap", "block", "least", "lag_ms", "rssi", "temperature_c")  # as `heartbeat` has them
_ALARMING = ("tls-ca", "tls-name", "tls-revoked", "tls-expired", "command-refused")


async def beat(runtime, heart):
    """Judges and sends, or keeps for later. AgentError when flash does not take it."""
    document = _document(runtime, heart)
    nominal.Nominal(runtime.settings, heart.learned, _alert_of(runtime)).judge(
        document["m"], document["span_s"]
    )
    session = runtime.session
    _security(runtime, heart, session.failures)
    if session.connected():
        try:
            if heart.owes:
                await _pay(session)
                heart.owes = False
                heart.stride = 1
            await session.publish("up/health", document)
            heart.away = 0
            return
        except LinkError:
            pass  # the session reports the loss itself
    heart.away += 1
    from agent.monitor import backlog

    backlog.keep(document, heart)


def _document(runtime, heart):
    """Bytes, seconds, milliseconds, dBm, degrees Celsius (docs/wire.md)."""
    supervisor = runtime.supervisor
    now = runtime.board.uptime_s()
    document = {
        "boot": supervisor.boot["count"],
        "up": now,
        "span_s": now - heart.since_s,
        "m": _taken(runtime, heart, now),
        "tasks": {name: _did(task) for name, task in supervisor.tasks.items()},
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


def _did(task):
    """[busy ms, longest step in ms] since the last heartbeat, and [restarts] since ever."""
    done = [task.busy_us // 1000, task.worst_us // 1000, task.restarts]
    task.busy_us = task.worst_us = 0
    return done


def _taken(runtime, heart, now):
    """{name: [least, mean, greatest, last]} since the last heartbeat."""
    taken = {}
    figures = heart.figures
    for at, name in enumerate(_SAMPLED):
        count, least, total, greatest, last = figures[5 * at : 5 * at + 5]
        if count:
            taken[name] = [least, total // count, greatest, last]
        figures[5 * at] = figures[5 * at + 2] = 0
    now_and_then = {}
    if heart.storage_at is None or now - heart.storage_at >= _STORAGE_S:
        heart.storage_at = now
        _room(runtime.board, now_and_then)
    now_and_then["connects"] = runtime.session.connects - heart.connects
    heart.connects = runtime.session.connects
    for name, value in now_and_then.items():
        taken[name] = [value] * 4
    return taken


def _room(board, found):
    from agent.storage import room

    found["storage"] = board.storage()["free"]
    try:
        found["nvs"] = room.nvs_free()
    except (AgentError, OSError):
        pass  # a table of another layout has none


def _alert_of(runtime):
    def alert(metric, kind, raised, value, limit):
        word = "raised" if raised else "cleared"
        text = "{} {} {}: {} {}".format(metric, kind, word, value, limit)
        runtime.log.warning("alert", text)
        runtime.events.add(
            "alert", metric=metric, kind=kind, raised=raised, value=value, limit=limit
        )

    return alert


def _security(runtime, heart, failures):
    """Tells of what an attacker would cause: the first time, and each time it has doubled."""
    for code, count in failures.items():
        if code in _ALARMING and count >= heart.told.get(code, 1):
            heart.told[code] = 2 * count
            runtime.events.add("security", kind=code, count=count)


async def _pay(session):
    """Sends what the last lives, or the time without a broker, have left."""
    from agent.monitor import backlog, crash

    record = crash.unsent()
    if record:
        await session.publish("up/crash", record, 1, True)
        crash.sent()
    await backlog.send(session)
