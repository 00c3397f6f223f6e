# SPDX-License-Identifier: MIT
"""Overwrites what was erased, where it lies: erased is not gone from flash.

NVS keeps the bytes of an old value until its page is recycled, and a page may keep other values
alive for ever; a file system keeps those of an old block until it is written again. NOR flash can
be programmed without an erase, to zero in any case, so dead bytes are programmed to zero in place.

NVS (ESP-IDF's Programming Guide, "NVS Library": pages and entries): an entry is dead when its
page's bitmap does not call it written; nobody reads it again. Files that hold a secret begin
with `files.SECRET`, and have blocks of their own, since they are too long to stand in a directory.

Nothing else may write to NVS meanwhile: Wi-Fi is off. Loaded for a factory reset, then released.
"""

from micropython import const

from agent.errors import StorageError
from agent.facts import data_partition
from agent.storage.files import SECRET

_BLOCK = const(4096)
_PIECE = const(256)
_ENTRIES = const(126)
_ENTRY = const(32)
_FIRST = const(64)  # offset of the first entry; the bitmap is at 32
_ACTIVE = const(0xFE)  # the state's lowest byte, as the others below
_IN_USE = (0xFE, 0xFC, 0xF8)  # active, full, freeing
_WRITTEN = const(2)
_ERASED = const(0)


def nvs():
    """Zeroes all dead entries of NVS, and blanks pages that are not in use.

    StorageError when flash does not take it.
    """
    part = data_partition("nvs")
    page = bytearray(_BLOCK)
    for number in range(part.ioctl(4, 0)):
        part.readblocks(number, page)
        if page[0] in _IN_USE:
            _entries(part, number, page)
        elif page != b"\xff" * _BLOCK:
            part.ioctl(6, number)


def _entries(part, number, page):
    start = None
    for i in range(_ENTRIES + 1):
        if i < _ENTRIES and _dead(page, i):
            if start is None:
                start = i
        elif start is not None:
            _zero(part, number, _FIRST + start * _ENTRY, (i - start) * _ENTRY)
            start = None


def _dead(page, i):
    """Whether nobody will read or write entry `i` again. Blank ones of the page in use will be."""
    state = page[32 + (i >> 2)] >> (i & 3) * 2 & 3
    if state == _WRITTEN:
        return False
    at = _FIRST + i * _ENTRY
    entry = page[at : at + _ENTRY]
    if entry == b"\0" * _ENTRY or entry == b"\xff" * _ENTRY:
        return False
    return state == _ERASED or page[0] != _ACTIVE


def files():
    """Zeroes each block of the file system that begins with `files.SECRET`, a file's or not."""
    part = data_partition("vfs")
    head = bytearray(len(SECRET))
    for number in range(part.ioctl(4, 0)):
        part.readblocks(number, head, 0)
        if head == SECRET:
            # The mark last: by it the block is found again after a cut.
            _zero(part, number, len(SECRET), _BLOCK - len(SECRET))
            _zero(part, number, 0, len(SECRET))


def _zero(part, number, offset, length):
    zeros = bytes(_PIECE)
    back = bytearray(_PIECE)
    for at in range(offset, offset + length, _PIECE):
        size = min(_PIECE, offset + length - at)
        part.writeblocks(number, memoryview(zeros)[:size], at)
        view = memoryview(back)[:size]
        part.readblocks(number, view, at)
        if view != memoryview(zeros)[:size]:
            raise StorageError("scrub-failed", str(number))
