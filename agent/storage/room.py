# SPDX-License-Identifier: MIT
"""How much room there is: littlefs and NVS look at all of themselves to say so. Loaded now and
then, and released."""

from micropython import const

from agent.facts import data_partition

_ENTRIES = const(126)
_HEAD = const(64)  # of a page of NVS: state at 0, bitmap of two bits an entry at 32
_IN_USE = (0xFE, 0xFC, 0xF8)
_WRITTEN = const(2)


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
