# SPDX-License-Identifier: MIT
"""What the hardware says only now and then. Loaded for the birth document and while joining Wi-Fi.

With `board`, the only module that imports machine, esp32 and network.
"""

import binascii

import esp32
import machine
import network

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
