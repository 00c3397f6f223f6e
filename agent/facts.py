# SPDX-License-Identifier: MIT
"""What the hardware says only now and then. Loaded for the birth document and while joining Wi-Fi.

With `board`, the only module that imports machine, esp32 and network.
"""

import binascii

import esp32
import machine
import network
from micropython import const

from agent.errors import StorageError

_WIFI = {
    network.STAT_IDLE: "idle",
    network.STAT_CONNECTING: "connecting",
    network.STAT_GOT_IP: "connected",
    network.STAT_NO_AP_FOUND: "no-ap",
    network.STAT_WRONG_PASSWORD: "wrong-password",
}

_CAUSES = {
    machine.PWRON_RESET: "power-on",
    machine.HARD_RESET: "hard",
    machine.WDT_RESET: "watchdog",
    machine.DEEPSLEEP_RESET: "deep-sleep",
    machine.SOFT_RESET: "soft",
}

# NVS: pages of 4 KB; state at 0, bitmap of two bits an entry at 32.
_ENTRIES = const(126)
_HEAD = const(64)
_IN_USE = const((0xFE, 0xFC, 0xF8))
_WRITTEN = const(2)


def reset_cause():
    """A word: power-on, hard, watchdog, deep-sleep, soft or unknown."""
    return _CAUSES.get(machine.reset_cause(), "unknown")


def wifi_status(wlan):
    """A word: idle, connecting, connected, no-ap, wrong-password or failed."""
    return _WIFI.get(wlan.status(), "failed")


def unique_id():
    return binascii.hexlify(machine.unique_id()).decode()


def mac(wlan):
    return binascii.hexlify(wlan.config("mac")).decode()


def partition():
    """The label of the app partition that runs."""
    return esp32.Partition(esp32.Partition.RUNNING).info()[4]


def data_partition(label):
    """A data partition as a block device; StorageError where the table has none of that name."""
    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label=label)
    if not found:
        raise StorageError("partition-none", label)
    return found[0]


def app_partitions():
    """(the app partition that runs, the one that the next firmware goes to)."""
    running = esp32.Partition(esp32.Partition.RUNNING)
    try:
        other = running.get_next_update()
    except OSError:
        raise StorageError("partition-none", "ota")
    if other.info()[4] == running.info()[4]:
        raise StorageError("partition-none", "ota")
    return running, other


def confirm_firmware():
    """Marks the app that the bootloader would start next as good."""
    esp32.Partition.mark_app_valid_cancel_rollback()


def nvs_free():
    """Entries of 32 bytes that NVS could still hold, but for the page that it keeps free."""
    part = data_partition("nvs")
    head = bytearray(_HEAD)
    pages = part.ioctl(4, 0)
    taken = 0
    for number in range(pages):
        part.readblocks(number, head, 0)
        if head[0] in _IN_USE:
            states = [head[32 + (i >> 2)] >> (i & 3) * 2 & 3 for i in range(_ENTRIES)]
            taken += states.count(_WRITTEN)
    return (pages - 1) * _ENTRIES - taken
