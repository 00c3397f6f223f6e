# SPDX-License-Identifier: MIT
"""Heartbeats: the board's figures, at a steady interval, while it is connected."""

from micropython import const

from agent.errors import LinkError

_STEP_S = const(5)


class Heartbeat:
    def __init__(self, supervisor, session, wifi, settings):
        self._supervisor = supervisor
        self._session = session
        self._wifi = wifi
        self._settings = settings

    def figures(self):
        """The heartbeat's document. Bytes, seconds, milliseconds, dBm, degrees Celsius."""
        supervisor = self._supervisor
        board = supervisor.board
        lag_ms = supervisor.lag_ms
        supervisor.lag_ms = 0
        return {
            "uptime_s": board.uptime_s(),
            "heap": board.heap(),
            "storage": board.storage(),
            "lag_ms": lag_ms,
            "rssi": self._wifi.rssi(),
            "joins": self._wifi.joins,
            "temperature_c": board.temperature_c(),
            "restarts": sum([task.restarts for task in supervisor.tasks.values()]),
            "link": self._session.figures(),
        }

    async def run(self, task):
        while True:
            if self._session.connected():
                try:
                    await self._session.publish("up/health", self.figures())
                except LinkError:
                    pass  # the session reports the loss itself
            await self._wait(task)

    async def _wait(self, task):
        """For one interval, as it is set: a shorter one counts at once."""
        waited = 0
        while waited < self._settings["heartbeat_s"]:
            step = min(_STEP_S, self._settings["heartbeat_s"] - waited)
            await task.sleep(step)
            waited += step
