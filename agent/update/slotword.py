# SPDX-License-Identifier: MIT
"""The number in NVS by which boot.py chooses the application's slot: one write switches.

From its lowest bit: the slot to keep (2 bits; 0 factory, 1 a, 2 b), the slot on trial (2 bits;
0 none, 1 a, 2 b, 3 factory), how often that was booted (4 bits), the firmware that it needs (3
bits: 1 + the number of the app partition, 0 for any). While another firmware runs, the slot to
keep is chosen. Booted `SURE` times means that it was found healthy, and only its firmware has yet
to be confirmed. `POWER` stands where boot.py went back after a loss of power: where it has to
reset for that, the cause is none.
"""

from micropython import const

KEY = "slot"
NAMES = ("factory", "a", "b")
MOUNTS = ("/slot-factory", "/slot-a", "/slot-b")
SURE = const(15)
POWER = const(2048)


def pack(keep, trial=None, boots=0, firmware=None):
    """`trial` is a slot, `firmware` the number of an app partition; None for neither."""
    word = keep | boots << 4
    if trial is not None:
        word |= (trial or 3) << 2
    if firmware is not None:
        word |= firmware + 1 << 8
    return word


def unpack(word):
    """(keep, trial, boots, firmware), with None as in `pack`."""
    trial, firmware = word >> 2 & 3, word >> 8 & 7
    return (
        word & 3,
        trial % 3 if trial else None,
        word >> 4 & 15,
        firmware - 1 if firmware else None,
    )


def running(folder):
    """The slot that is mounted at `folder`; None for a frozen agent, which runs from no slot."""
    return MOUNTS.index(folder) if folder in MOUNTS else None


def free(word, running):
    """The slot that may be written: neither the one to keep nor the one that runs."""
    return 1 if 1 not in (word & 3, running) else 2


def pack_path(number):
    return "/slots/" + NAMES[number] + ".pack"
