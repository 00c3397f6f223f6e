# SPDX-License-Identifier: MIT
"""One heartbeat: what it says, whether that is as it should be, and where it goes.

Loaded for each, then released; what lasts is in `heartbeat`.
"""

from micropython import const

from agent.errors import AgentError, LinkError
from agent.monitor import nominal

_STORAGE_S = const(3600)  # littlefs looks at all of itself to say how full it is
_ALARMING = ("tls-ca", "tls-name", "tls-revoked", "tls-expired", "command-refused")


async def beat(runtime, heart):
    """Judges and sends, or keeps for later. AgentError when flash does not take it."""
    document = _document(runtime, heart)
    nominal.Nominal(runtime.settings, heart, _alert_of(runtime)).judge(
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
        "m": _taken(runtime, heart.metrics, now),
        "tasks": {name: task.take() for name, task in supervisor.tasks.items()},
        "link": runtime.session.figures(),
    }
    heart.since_s = now
    if runtime.clock.synced():
        document["at"] = runtime.clock.now()
    if heart.metrics.counts:
        document["counts"] = heart.metrics.counts
    if heart.metrics.gauges:
        document["gauges"] = heart.metrics.gauges
    return document


def _taken(runtime, metrics, now):
    """{name: [least, mean, greatest, last]} since the last heartbeat."""
    if metrics.storage_at is None or now - metrics.storage_at >= _STORAGE_S:
        metrics.storage_at = now
        _room(runtime.board, metrics)
    connects = runtime.session.connects
    metrics.put("connects", connects - metrics.connects)
    metrics.connects = connects
    taken, metrics.figures = metrics.figures, {}
    return {n: [f[0], f[1] // f[4], f[2], f[3]] for n, f in taken.items()}


def _room(board, metrics):
    from agent.storage import room

    metrics.put("storage", board.storage()["free"])
    try:
        metrics.put("nvs", room.nvs_free())
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
