# SPDX-License-Identifier: MIT
"""Joins the best known Wi-Fi network, with every wait bounded."""

import json

from micropython import const

from agent.errors import LinkError, Refused

_JOIN_S = const(20)
_GIVE_UP_S = const(3)
_POLL_S = 0.2


def parse(data):
    """[(ssid, password), ...], most wanted first, from the JSON in NVS."""
    try:
        networks = [(ssid, password) for ssid, password in json.loads(data)]
    except (ValueError, TypeError):
        raise Refused("wifi-list")
    for ssid, password in networks:
        if not (isinstance(ssid, str) and isinstance(password, str) and 0 < len(ssid) <= 32):
            raise Refused("wifi-list")
    return networks


class Wifi:
    def __init__(self, board, log, networks):
        self._board = board
        self._log = log
        self._networks = networks
        self.joins = 0
        self.last_error = ""

    def connected(self):
        return self._board.wlan.isconnected()

    def rssi(self):
        """Signal in dBm, or None."""
        try:
            return self._board.wlan.config("rssi") if self.connected() else None
        except (OSError, ValueError):  # between the question and the answer the link was lost
            return None

    async def join(self, task):
        """Returns once a network is joined; LinkError when none of them could be."""
        if self.connected():
            return
        wlan = self._board.wlan
        wlan.active(True)
        for ssid, password in self._networks:
            if await self._try(task, ssid, password):
                self.joins += 1
                self._log.info("wifi", "joined " + ssid)
                return
            self.last_error = "wifi-" + self._board.wifi_status()
            self._log.warning("wifi", "{}: {}".format(ssid, self.last_error))
        raise LinkError(self.last_error or "wifi-none")

    async def _try(self, task, ssid, password):
        wlan = self._board.wlan
        try:
            wlan.disconnect()  # a try that still runs makes the next one fail
        except OSError:
            pass  # it was not connected
        try:
            wlan.connect(ssid, password)
        except OSError as e:
            self._log.warning("wifi", str(e.args))
            return False
        failing = 0
        for _ in range(int(_JOIN_S / _POLL_S)):
            await task.sleep(_POLL_S)
            if self.connected():
                return True
            # The firmware tries again by itself after a first refusal, which is often transient.
            failing = 0 if self._board.wifi_status() in ("connecting", "idle") else failing + 1
            if failing * _POLL_S > _GIVE_UP_S:
                break
        return False
