# SPDX-License-Identifier: MIT
"""Says that this life begins: in the log, and as an event. Loaded for it."""

from agent.version import VERSION


def announce(runtime):
    boot = runtime.supervisor.boot
    count, cause, why = boot["count"], boot["cause"], boot["why"]
    runtime.log.info("boot", "fleetling {} boot {} after {} {}".format(VERSION, count, cause, why))
    if runtime.development:
        runtime.log.warning("boot", "development mode: no watchdog")
    runtime.events.add("boot", boot=count, cause=cause, why=why)
    if runtime.state.get_int("reset") < 0:
        from agent import factory

        factory.tell(runtime.events, runtime.state)
        factory.release()
