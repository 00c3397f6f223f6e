# SPDX-License-Identifier: MIT
"""Gets a session onto its broker. Loaded while there is no connection.

One round is: join Wi-Fi, set the clock, open TLS, log in, subscribe, say that we are here. Between
rounds there is a pause, longer each time and at random, so that a thousand boards do not come back
in the same second.
"""

import asyncio

from micropython import const

from agent import ondemand
from agent.errors import AgentError
from agent.link import login

_DIALLING = ("facts", "link.dial", "link.floor", "link.join", "link.sntp", "link.tls")
_PREFIX = "fleetling/v1/"
_FIRST_PAUSE_S = const(1)
# Tries before another network has its turn: the one that is joined may lead nowhere.
_STAY = const(8)
_WANTED = ("identity-changed", "settings-changed")


def pause_s(attempt, random_byte, longest_s):
    """Seconds to wait before try `attempt` (0, 1, 2...): twice as long each time, and of that a
    random half (`random_byte`, 0 to 255), within a bound."""
    longest = min(longest_s, _FIRST_PAUSE_S << min(attempt, 9))
    return longest * (256 + random_byte) / 512


async def reach(session, task):
    """Closes what has ended, and returns once the session is on the broker again."""
    while True:
        session.leave()
        await login.close(session.mqtt)
        if session.ended:
            _tell(session, session.ended)
            byte = session.board.random(1)[0]
            await task.sleep(pause_s(session.attempt, byte, session.settings["reconnect_s"]))
            session.attempt += 1
        session.ended = None
        if session.attempt and not session.attempt % _STAY:
            _elsewhere(session.wifi)
        try:
            await _round(session, task)
            return
        except AgentError as e:
            session.ended = e


def _tell(session, e):
    if e.code in _WANTED:
        session.log.info("link", "again: " + e.code)
        return
    session.last_error = e.code
    session.failures[e.code] = session.failures.get(e.code, 0) + 1
    session.log.warning("link", "{} {}".format(e.code, e.detail))
    if e.code in ("tls-expired", "tls-future"):
        session.clock.distrust()


def _elsewhere(wifi):
    if len(wifi.settings["wifi"]) > 1 and wifi.connected():
        wifi.first += 1
        wifi.leave()


async def _round(session, task):
    keyring = session.keyring
    identity = keyring.identity()
    claim = keyring.is_claim(identity)
    session.base = _PREFIX + identity.name + "/"
    will = None if claim else (session.base + "online", b'{"online":false}', True)
    await _connect(session, task, identity, will)
    session.reading = asyncio.create_task(session.read())
    session.topics = [(session.base + ("down/enrol" if claim else "down/#"), 1)]
    await login.subscribe(session.mqtt, session.topics)
    if session.ended:  # meanwhile: what the connection was made with is out of date
        raise session.ended
    keyring.accepted(identity)
    session.identity = identity
    session.connects += 1
    session.log.info("link", "on the broker, by claim" if claim else "on the broker")
    if not claim:
        await _announce(session)
    session.last_error = ""
    session.wifi.first = 0


async def _connect(session, task, identity, will):
    # What it takes to get there is loaded for it, and released before anything is said.
    from agent.link import dial, join, sntp

    try:
        await join.join(session.wifi, task)
        task.alive()
        sntp.sync(session.clock, session.log)
        session.keyring.dialled()
        await dial.open_line(session.mqtt, identity, task, will)
    finally:
        dial = join = sntp = None
        ondemand.release(*_DIALLING)


async def _announce(session):
    online = {"online": True, "boot": session.supervisor.boot["count"]}
    await session.publish("online", online, 1, True)
    for make in session.births:
        topic, document = make()
        await session.publish(topic, document, 1, True)
