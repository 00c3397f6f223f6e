# SPDX-License-Identifier: MIT
"""Says that this life begins, in the log and as an event, and starts the application, or safe
mode. Loaded for it."""

from agent import application
from agent.version import VERSION


def announce(runtime):
    supervisor = runtime.supervisor
    boot = supervisor.boot
    count, cause, why, task = boot["count"], boot["cause"], boot["why"], boot["task"]
    runtime.log.info(
        "boot", "fleetling {} boot {} after {} {} {}".format(VERSION, count, cause, why, task)
    )
    if runtime.development:
        runtime.log.warning("boot", "development mode: no watchdog")
    if task:
        runtime.events.add("boot", boot=count, cause=cause, why=why, task=task)
    else:
        runtime.events.add("boot", boot=count, cause=cause, why=why)
    if runtime.state.get_int("reset") < 0:
        from agent import factory

        factory.tell(runtime.events, runtime.state)
        factory.release()
    if why in ("hung", "starved"):
        from agent.monitor import crash

        crash.note_boot(runtime)
    if supervisor.safe:
        from agent.safemode import SafeMode

        SafeMode(runtime).begin()
    elif application.present(runtime.slot):
        supervisor.task("app", application.run, application.DEADLINE_S)
