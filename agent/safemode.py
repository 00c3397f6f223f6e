# SPDX-License-Identifier: MIT
"""Safe mode: the application is not started, nor imported; link, commands, settings and updates
are, so that a fix can come in.

boot.py decides on it after bad boots. It is left by the command `resume`, by a change of settings
(one that is on trial has to be confirmed first), by an update, and after a delay that grows with
each time, ten minutes to a day: then one more bad boot is enough to come back. Loaded in safe mode
alone.
"""

from micropython import const

from agent.errors import AgentError
from agent.leave import leave

_LEAST_S = const(600)
_DOUBLINGS = const(7)
_STEP_S = const(3)
_ONE_MORE = const(4)  # boot.py: six is too bad, and a crash counts for two


class SafeMode:
    def __init__(self, runtime):
        self._runtime = runtime
        self._supervisor = runtime.supervisor
        self._wanted = False

    def begin(self):
        runtime = self._runtime
        boot = self._supervisor.boot
        why = "{} {}".format(boot["why"], boot["task"]).strip()
        runtime.log.warning("safe-mode", "the application is not started: " + why)
        runtime.events.add("safe-mode", on=True, why=why)
        self._supervisor.commands["resume"] = self._resume
        runtime.settings.on_change(list(runtime.settings.base), self._changed)
        self._supervisor.task("safe-mode", self._wait)

    async def _resume(self, args):
        async def after(command_id):
            await self._leave("command", command_id, 0)

        return after

    def _changed(self):
        self._wanted = True

    async def _wait(self, task):
        board = self._runtime.board
        delay_s = _LEAST_S << min(self._supervisor.record.safe - 1, _DOUBLINGS)
        until = board.uptime_s() + delay_s
        while board.uptime_s() < until:
            await task.sleep(_STEP_S)
            if self._wanted and not self._runtime.settings.trial:
                await task.sleep(_STEP_S)  # for the report of the settings to get out
                await self._leave("settings", "", 0)
        await self._leave("safe-mode-over", "", _ONE_MORE)

    async def _leave(self, why, detail, bad):
        runtime = self._runtime
        runtime.events.add("safe-mode", on=False, why=why)
        record = self._supervisor.record
        record.bad = bad
        if not bad:
            record.safe = 0
        record.write()
        try:
            runtime.state.set_int("guard", 0)
        except AgentError as e:  # what boot.py goes by after a loss of power alone
            runtime.log.error("safe-mode", e.code)
        await leave(runtime.session, self._supervisor, why, detail)
