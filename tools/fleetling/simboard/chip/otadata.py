# SPDX-License-Identifier: MIT
"""The otadata partition: which app slot boots, and whether it is on trial.

Source: ESP-IDF Programming Guide, "Over The Air Updates". Two sectors, an entry of 32 bytes at the
start of each: sequence, label of 20 unused bytes, state, CRC over the sequence only. The slot is
(sequence - 1) % slots; the highest valid sequence wins, the first sector where both are equal.
Writing an entry erases its sector, then programs 32 bytes.
"""

import struct
from binascii import crc32

from micropython import const

NEW = const(0)
PENDING_VERIFY = const(1)
VALID = const(2)
INVALID = const(3)
ABORTED = const(4)
UNDEFINED = const(0xFFFFFFFF)

SECTOR = const(4096)
_BLANK = const(0xFFFFFFFF)
_ENTRY = "<I20sII"


def sequence_crc(sequence):
    return crc32(struct.pack("<I", sequence), 0xFFFFFFFF)


def pack(sequence, state, label=b"\xff" * 20):
    return struct.pack(_ENTRY, sequence, label, state, sequence_crc(sequence))


class Otadata:
    """Both entries as read: `sequences`, `states`. Changing one writes it to flash."""

    def __init__(self, flash, entry):
        self._flash = flash
        self._addr = entry[2]
        self.size = entry[3]
        self._raw = [flash.read(self._addr + i * SECTOR, 32) for i in (0, 1)]
        fields = [struct.unpack(_ENTRY, raw) for raw in self._raw]
        self.sequences = [f[0] for f in fields]
        self.states = [f[2] for f in fields]
        self._crcs = [f[3] for f in fields]

    def blank(self, i):
        """No sequence, or a CRC that does not fit it: never written, or torn."""
        sequence = self.sequences[i]
        return sequence == _BLANK or self._crcs[i] != sequence_crc(sequence)

    def refused(self, i):
        """What the bootloader passes over without looking at the CRC."""
        return self.sequences[i] == _BLANK or self.states[i] in (INVALID, ABORTED)

    def valid(self, i):
        return not self.blank(i) and not self.refused(i)

    def active(self):
        """0 or 1, or None when neither entry is valid."""
        first, second = self.valid(0), self.valid(1)
        if first and second:
            return 0 if self.sequences[0] >= self.sequences[1] else 1
        return 0 if first else 1 if second else None

    def set_state(self, i, state):
        """Keeps everything else of the entry as it is, a wrong CRC too."""
        raw = self._raw[i]
        self._write(i, raw[:24] + struct.pack("<I", state) + raw[28:])
        self.states[i] = state

    def set_sequence(self, i, sequence, state):
        """A new entry, with the label that was there."""
        self._write(i, pack(sequence, state, self._raw[i][4:24]))

    def forget_label(self, i):
        self._raw[i] = b"\xff" * 32

    def erase(self):
        self._flash.erase(self._addr, self.size)

    def _write(self, i, raw):
        self._flash.erase(self._addr + i * SECTOR, SECTOR)
        self._flash.program(self._addr + i * SECTOR, raw)
