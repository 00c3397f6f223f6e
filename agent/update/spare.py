# SPDX-License-Identifier: MIT
"""A piece of the heap, taken before code and its names scatter what is free, and given away for
what has to lie in one piece: the largest document, or the buffers of a payload's reader."""

import gc

from micropython import const

_SIZE = const(14336)  # some 45 targets of one role
_LONG = const(8192)


class Spare:
    def __init__(self):
        gc.collect()
        self._held = bytearray(_SIZE)

    def make_room(self, length):
        """Gives it away for a document of this length, if that is long."""
        if self._held and length > _LONG:
            self._held = None
            gc.collect()
