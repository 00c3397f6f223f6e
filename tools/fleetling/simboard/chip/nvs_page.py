# SPDX-License-Identifier: MIT
"""One 4 KB page of NVS, with the write order and the repairs of ESP-IDF 5.

An entry is written first and declared in the bitmap after, heads before data, so that a cut leaves
an item that `load` recognises as unfinished. Only the bitmap and one byte of hash an item are held
in memory; everything else is read again.
"""

import struct
from binascii import crc32

from .nvs_format import (
    ACTIVE,
    ANY,
    BITMAP,
    BLOB_INDEX,
    CHUNK_ANY,
    CHUNK_MAX,
    CORRUPT,
    EMPTY,
    ENTRIES,
    ENTRY,
    ERASED,
    FIRST,
    FREEING,
    FULL,
    HEAD,
    INVALID,
    PAGE_SIZE,
    SEED,
    UNINITIALIZED,
    VERSION,
    WRITTEN,
    NewVersion,
    has_length,
    head_hash,
    item_crc,
    item_valid,
    key_of,
)


class Page:
    """`state` is one of the states above; `sequence` counts for pages in use only."""

    def __init__(self, flash, addr):
        self.flash = flash
        self.addr = addr
        self.sequence = 0
        self._blank()
        self.load()

    def _blank(self):
        self.state = UNINITIALIZED
        self.next_free = 0
        self._bitmap = bytearray(b"\xff" * 32)
        # One byte an entry: 0, or the hash of the item whose head stands there.
        self._heads = bytearray(ENTRIES)

    def in_use(self):
        return self.state in (ACTIVE, FULL, FREEING)

    # Loading, with the repair of what a power cut left behind.

    def load(self):
        page = self.flash.read(self.addr, PAGE_SIZE)
        self._blank()
        state, self.sequence, version = struct.unpack_from("<4sIB", page)
        if state == UNINITIALIZED:
            self.state = state if page == b"\xff" * PAGE_SIZE else CORRUPT
            return
        if struct.unpack_from("<I", page, 28)[0] != crc32(page[4:28], SEED):
            self.state = CORRUPT
            return
        if version < VERSION:
            raise NewVersion()
        self.state = state if state in (ACTIVE, FULL, FREEING) else CORRUPT
        if self.state == CORRUPT:
            return
        self._bitmap = bytearray(page[BITMAP:FIRST])
        self.next_free = ENTRIES
        if state == ACTIVE:
            self._find_free(page)
        i = 0
        while i < min(self.next_free, ENTRIES):
            i += self._load_item(page, i)

    def _find_free(self, page):
        """The first entry that is neither declared nor begun; begun ones are given up."""
        i = 0
        while i < ENTRIES and self._state(i) != EMPTY:
            i += 1
        while i < ENTRIES and _entry(page, i)[:4] != b"\xff\xff\xff\xff":
            self._declare(i, i + 1, ERASED)
            i += 1
        self.next_free = i

    def _load_item(self, page, i):
        """Takes the item at `i` into the index, or erases it; returns the entries to step over."""
        state = self._state(i)
        if state == ERASED or (state != WRITTEN and self.state != ACTIVE):
            return 1
        entry = _entry(page, i)
        if state != WRITTEN or not item_valid(entry):
            self.erase_item(i)
            return 1
        namespace, kind, span, chunk = entry[:4]
        if not has_length(kind):
            span = 1
        for j in range(i, i + span):
            if j >= ENTRIES or self._state(j) != WRITTEN:
                self.erase_item(i)
                return span
        if self.state == ACTIVE:
            # The same item twice: the power went before the older one was erased.
            older = self._find_head(namespace, key_of(entry), chunk)
            if older is not None:
                self.erase_item(older[0])
        self._heads[i] = head_hash(namespace, key_of(entry), chunk)
        return span

    # Finding.

    def items(self):
        """Yields (index, head entry) of every item, in the order of writing."""
        for i in range(ENTRIES):
            if self._heads[i] and self.in_use():
                yield i, self.entry(i)

    def find(self, namespace, kind, key, chunk=CHUNK_ANY, version=None):
        """(index, head entry) of an item, or None; `version` is the first chunk of a blob index.

        The first item of that key decides: where it has another type, nothing is found.
        """
        found = self._find_head(namespace, key, chunk)
        while found:
            i, entry = found
            if kind == BLOB_INDEX and version is not None and entry[29] != version:
                found = self._find_head(namespace, key, chunk, i + 1)
                continue
            return found if kind in (ANY, entry[1]) else None
        return None

    def _find_head(self, namespace, key, chunk, start=0):
        if not self.in_use():
            return None
        heads = bytes(self._heads)
        wanted = bytes((head_hash(namespace, key, chunk),))
        i = heads.find(wanted, start)
        while i >= 0:
            entry = self.entry(i)
            if not item_valid(entry):
                self.erase_item(i)
            elif entry[0] == namespace and entry[3] == chunk and key_of(entry) == key:
                return i, entry
            i = heads.find(wanted, i + 1)
        return None

    def entry(self, i):
        return self.flash.read(self.addr + FIRST + i * ENTRY, ENTRY)

    def data(self, i, entry):
        """The bytes of an item with a length, or None (and the item erased) when they rotted."""
        size, _, crc = struct.unpack_from("<HHI", entry, 24)
        data = self.flash.read(self.addr + FIRST + (i + 1) * ENTRY, size)
        if crc32(data, SEED) != crc:
            self.erase_item(i)
            return None
        return data

    # Room.

    def count_written(self):
        return len([i for i in range(ENTRIES) if self._state(i) == WRITTEN])

    def tailroom(self):
        """The largest data chunk that still fits, in bytes."""
        if self.state == UNINITIALIZED:
            return CHUNK_MAX
        if self.state == FULL or self.next_free >= ENTRIES - 1:
            return 0
        return (ENTRIES - self.next_free - 1) * ENTRY

    # Changing.

    def write_item(self, namespace, kind, key, data, chunk=CHUNK_ANY):
        """Appends an item; returns False when it does not fit here."""
        if self.state == UNINITIALIZED:
            self._initialize()
        rounded = (len(data) + ENTRY - 1) // ENTRY if has_length(kind) else 0
        if self.state != ACTIVE or self.next_free + 1 + rounded > ENTRIES:
            return False
        small = data
        if has_length(kind):
            small = struct.pack("<HHI", len(data), 0xFFFF, crc32(data, SEED))
        small = bytes(small) + b"\xff" * (8 - len(small))
        span = 1 + rounded
        entry = bytearray(struct.pack(HEAD, namespace, kind, span, chunk, 0, key, small))
        struct.pack_into("<I", entry, 4, item_crc(entry))
        self._heads[self.next_free] = head_hash(namespace, key, chunk)
        self._append(entry)
        if has_length(kind):
            self._append_data(data)
        return True

    def _append(self, entry):
        self._program(FIRST + self.next_free * ENTRY, entry)
        self._declare(self.next_free, self.next_free + 1, WRITTEN)
        self.next_free += 1

    def _append_data(self, data):
        # Whole entries in one go, declared together; the rest padded as an entry of its own.
        whole = len(data) // ENTRY
        if whole:
            self._program(FIRST + self.next_free * ENTRY, data[: whole * ENTRY])
            self._declare(self.next_free, self.next_free + whole, WRITTEN)
            self.next_free += whole
        rest = bytes(data[whole * ENTRY :])
        if rest:
            self._append(rest + b"\xff" * (ENTRY - len(rest)))

    def erase_item(self, i):
        """Declares the item at `i` erased, with its data; the bytes stay in flash."""
        span = 1
        if self._state(i) == WRITTEN:
            entry = self.entry(i)
            if item_valid(entry) and i + entry[2] <= ENTRIES:
                span = max(1, entry[2])
        self._heads[i] = 0
        self._declare(i, i + span, ERASED)
        self.next_free = max(self.next_free, i + span)

    def copy_items(self, other):
        """Appends every item of this page to `other`, entry by entry."""
        for i, entry in self.items():
            if other.state == UNINITIALIZED:
                other._initialize()
            other._heads[other.next_free] = self._heads[i]
            other._append(entry)
            span = entry[2]
            for j in range(i + 1, i + span):
                other._append(self.entry(j))

    def mark(self, state):
        self._program(0, state)
        self.state = state

    def erase(self):
        self._guard(self.flash.erase, self.addr, PAGE_SIZE)
        self._blank()

    def _initialize(self):
        head = bytearray(b"\xff" * 32)
        struct.pack_into("<4sIB", head, 0, ACTIVE, self.sequence, VERSION)
        struct.pack_into("<I", head, 28, crc32(head[4:28], SEED))
        self._program(0, head)
        self.state = ACTIVE

    def _state(self, i):
        return self._bitmap[i >> 2] >> (i & 3) * 2 & 3

    def _declare(self, begin, end, state):
        """Sets the bitmap for entries begin..end-1: a word at a time, the last word first."""
        for i in range(begin, end):
            shift = (i & 3) * 2
            self._bitmap[i >> 2] = self._bitmap[i >> 2] & ~(3 << shift) & 0xFF | state << shift
        for word in range((end - 1) // 16, begin // 16 - 1, -1):
            self._program(BITMAP + word * 4, self._bitmap[word * 4 : word * 4 + 4])

    def _program(self, offset, data):
        self._guard(self.flash.program, self.addr + offset, data)

    def _guard(self, operation, addr, argument):
        # A chip that refuses takes the page out of service until the next boot.
        try:
            operation(addr, argument)
        except OSError:
            self.state = INVALID
            raise


def _entry(page, i):
    return page[FIRST + i * ENTRY : FIRST + (i + 1) * ENTRY]
