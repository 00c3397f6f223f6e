# SPDX-License-Identifier: MIT
"""What the agent says to a person at the REPL. Loaded when one asks."""

import os

from agent import birth
from agent.errors import Refused
from agent.version import VERSION


def stopped(runtime):
    print("\nStopped by Ctrl-C. agent.status() tells how things stand.")
    if not runtime.development:
        print("The watchdog still runs, and resets the board within a minute.")
        print("To work here in peace: agent.dev(True), then agent.reset()")


def dev(runtime, on):
    runtime.state.set_int("dev", 1 if on else 0)
    state = "on" if on else "off"
    print("Development mode is {} from the next reset on: agent.reset()".format(state))


def factory_reset(runtime, level):
    from agent import factory

    try:
        factory.order(runtime.board, level)
    except Refused:
        print('No such level. Take "config", "app" or "identity" (docs/settings.md).')
        return
    runtime.supervisor.reset("repl")


def top(runtime):
    """What each task did since the last heartbeat."""
    print("{:12s} {:>8s} {:>9s} {:>8s}".format("task", "busy ms", "worst ms", "restarts"))
    for name, task in sorted(runtime.supervisor.tasks.items()):
        busy, worst = task.busy_us // 1000, task.worst_us // 1000
        print("{:12s} {:8d} {:9d} {:8d}".format(name, busy, worst, task.restarts))
    print("loop late by {} ms at most".format(runtime.supervisor.lag_ms))
    for name, text in _summary(runtime):
        if name in ("heap", "broker", "storage"):
            print("{:12s} {}".format(name, text))


def status(runtime):
    for name, text in _summary(runtime):
        print("{:9s} {}".format(name, text))
    for line in runtime.log.tail(5):
        print("  " + line)


def _summary(runtime):
    boot = runtime.supervisor.boot
    heap = runtime.board.heap()
    room = runtime.board.storage()
    yield "fleetling", "{}  slot {}  {}".format(VERSION, birth.slot(runtime) or "-", os.uname()[2])
    yield "device", _who(runtime)
    yield "broker", _link(runtime)
    yield "boot", "{} after {} {}".format(boot["count"], boot["cause"], boot["why"])
    yield "uptime", "{} s".format(runtime.board.uptime_s())
    yield (
        "heap",
        "{} free, {} used, largest block {}".format(heap["free"], heap["used"], heap["largest"]),
    )
    yield "storage", "{} of {} free".format(room["free"], room["size"])
    if runtime.events:
        yield "events", "{} waiting".format(runtime.events.waiting())
    mode = "safe: the application is not started" if runtime.supervisor.safe else "normal"
    if runtime.alone:
        mode = "an update alone: without application and broker, for the memory that they take"
    yield "mode", "development" if runtime.development and not runtime.alone else mode


def _who(runtime):
    if runtime.identity_error:
        return "no identity ({})".format(runtime.identity_error)
    keyring = runtime.keyring
    if runtime.alone:
        return "not on the broker in this life"
    claim = keyring.is_claim(keyring.identity())
    return keyring.own.name + (", by claim" if claim else "")


def _link(runtime):
    session = runtime.session
    if session is None:
        return "not started"
    return "{}:{}  {}, {} connects, last error {}".format(
        *runtime.keyring.identity().endpoint,
        "connected" if session.identity else "not connected",
        session.connects,
        session.last_error or "none",
    )
