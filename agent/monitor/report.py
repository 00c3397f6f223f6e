# SPDX-License-Identifier: MIT
"""One heartbeat: what it says, whether that is as it should be, and where it goes.

Loaded for each, then released; what lasts is in `heartbeat`.
"""

from agent.errors import LinkError
from agent.monitor import nominal

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
        "m": heart.metrics.take(),
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
