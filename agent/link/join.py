# SPDX-License-Identifier: MIT
"""Joins the best known Wi-Fi network, with every wait bounded. Loaded while there is no
connection."""

import json

from micropython import const

from agent.errors import LinkError, Refused

_JOIN_S = const(20)
# A first refusal is often transient, so the firmware may try again. While it may, it does not say
# what is wrong; joined, it may for ever, and brief drop-outs heal by themselves.
_RECONNECTS = const(2)
_FOR_EVER = const(-1)
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


async def join(wifi, task):
    """Returns once a network is joined; LinkError when none of them could be."""
    from agent.facts import wifi_status  # here, for the list of networks is read without hardware

    if wifi.connected():
        return
    wifi.board.wlan.active(True)
    networks = wifi.settings["wifi"]
    for number in range(wifi.first, wifi.first + len(networks)):
        ssid, password = networks[number % len(networks)]
        if await _try(wifi, task, ssid, password, wifi_status):
            wifi.joins += 1
            wifi.first = number % len(networks)
            wifi.log.info("wifi", "joined " + ssid)
            return
        wifi.last_error = "wifi-" + wifi_status(wifi.board.wlan)
        wifi.log.warning("wifi", "{}: {}".format(ssid, wifi.last_error))
    raise LinkError(wifi.last_error or "wifi-none")


async def _try(wifi, task, ssid, password, wifi_status):
    board = wifi.board
    wifi.leave()  # a try that still runs makes the next one fail
    try:
        board.wlan.config(reconnects=_RECONNECTS)
        board.wlan.connect(ssid, password)
    except OSError as e:
        wifi.log.warning("wifi", str(e.args))
        return False
    for _ in range(int(_JOIN_S / _POLL_S)):
        await task.sleep(_POLL_S)
        if wifi.connected():
            board.wlan.config(reconnects=_FOR_EVER)
            return True
        if wifi_status(board.wlan) not in ("connecting", "idle"):
            break
    return False
