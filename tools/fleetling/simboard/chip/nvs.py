# SPDX-License-Identifier: MIT
"""Non-volatile storage of ESP-IDF 5 on the fake flash: pages, namespaces, blobs, recycling.

Invariants, as in ESP-IDF:
- an old value is erased only after the new one is complete, so a cut leaves either;
- a blob is its data chunks first, its index last; chunks without an index are erased at boot; two
  versions of a blob take turns in the chunk numbers 0.. and 128..;
- `open` erases the whole partition where no page is free or a newer format is found, which is what
  MicroPython does at boot.

Deliberately better than ESP-IDF in one place: when a blob does not fit, exactly the chunks just
written are erased; ESP-IDF numbers them from 0 and may hit the old value's.
"""

import struct

from micropython import const

from . import nvs_format as nf
from .esp_err import error
from .nvs_format import ANY, BLOB_DATA, BLOB_INDEX, BLOB_V1, CHUNK_MAX, PAGE_SIZE, U8
from .nvs_pages import NoFreePage, Pages

_NAMESPACES = const(0)
_KEY_MAX = const(15)
_VERSION_1 = const(128)
_NUMBERS = {0x01: "<B", 0x11: "<b", 0x02: "<H", 0x12: "<h", 0x04: "<I", 0x14: "<i"}
_NUMBERS[0x08] = "<Q"
_NUMBERS[0x18] = "<q"


class Nvs:
    """The NVS partition at `addr`. Keys and namespaces are str; types are nvs_format's numbers.

    `was_erased` tells that opening it has wiped everything.
    """

    def __init__(self, flash, addr, size):
        self.flash = flash
        self.addr = addr
        self.size = size
        self.was_erased = False
        try:
            self._load()
        except (NoFreePage, nf.NewVersion):
            self.was_erased = True
            flash.erase(addr, size)
            self._load()

    # What programs use.

    def open(self, namespace):
        """The number of a namespace, made when it is new."""
        key = _key(namespace)
        if key not in self._namespaces:
            taken = self._namespaces.values()
            number = 1
            while number in taken:
                number += 1
            if number > 254:
                raise error("ESP_ERR_NVS_NOT_ENOUGH_SPACE")
            self._set_item(_NAMESPACES, U8, key, bytes((number,)))
            self._namespaces[key] = number
        return self._namespaces[key]

    def namespaces(self):
        return sorted([key.decode() for key in self._namespaces])

    def get(self, namespace, kind, name):
        """The value (int, or bytes; a string with its NUL), or None. BLOB_V1 reads any blob."""
        number = self._namespaces.get(namespace.encode())
        key = _key(name)
        if number is None:
            return None
        if kind == BLOB_V1:
            value = self._get_blob(number, key)
            if value is not None:
                return value
        return self._get_item(number, kind, key)

    def set(self, namespace, kind, name, value):
        """Writes an int (any of the integer types), or bytes as a blob (BLOB_V1) or string."""
        key = _key(name)
        number = self.open(namespace)
        if kind == BLOB_V1:
            self._set_blob(number, key, bytes(value))
        elif kind in _NUMBERS:
            self._set_item(number, kind, key, struct.pack(_NUMBERS[kind], value))
        else:
            if len(value) > CHUNK_MAX:
                raise error("ESP_ERR_NVS_VALUE_TOO_LONG")
            self._set_item(number, kind, key, bytes(value))

    def erase(self, namespace, name):
        """Erases a key of any type; returns False when there is none."""
        number = self._namespaces.get(namespace.encode())
        key = _key(name)
        found = number is not None and self._pages.find(number, ANY, key)
        if not found:
            return False
        page, i, entry = found
        if entry[1] == BLOB_INDEX:
            self._erase_blob(number, key, entry[29])
        else:
            page.erase_item(i)
        return True

    def keys(self, namespace):
        """[(key, type)] of a namespace; a blob shows its type as BLOB_V1."""
        number = self._namespaces.get(namespace.encode())
        keys = []
        for _, _, entry in self._pages.items():
            if entry[0] == number and entry[1] != BLOB_DATA:
                kind = BLOB_V1 if entry[1] == BLOB_INDEX else entry[1]
                keys.append((nf.key_of(entry).decode(), kind))
        return keys

    def stats(self):
        """As nvs_get_stats: used, free, available and total entries, namespaces."""
        used = sum([page.count_written() for page in self._pages.used])
        total = self.size // PAGE_SIZE * nf.ENTRIES
        free = total - used
        return {
            "used_entries": used,
            "free_entries": free,
            "available_entries": max(0, free - nf.ENTRIES),
            "total_entries": total,
            "namespace_count": len(self._namespaces),
        }

    # Opening.

    def _load(self):
        self._pages = Pages(self.flash, self.addr, self.size)
        self._namespaces = {}
        indexes = []
        for _, _, entry in self._pages.items():
            if entry[0] == _NAMESPACES and entry[1] == U8:
                self._namespaces[nf.key_of(entry)] = entry[24]
            elif entry[1] == BLOB_INDEX:
                indexes.append((entry[0], nf.key_of(entry), entry[29], entry[28]))
        for page, i, entry in self._pages.items():
            if entry[1] == BLOB_DATA and not _belongs(entry, indexes):
                page.erase_item(i)

    # Items.

    def _get_item(self, namespace, kind, key):
        found = self._pages.find(namespace, kind, key)
        if not found:
            return None
        page, i, entry = found
        if kind in _NUMBERS:
            return struct.unpack_from(_NUMBERS[kind], entry, 24)[0]
        return page.data(i, entry)

    def _set_item(self, namespace, kind, key, data):
        old = self._pages.find(namespace, ANY, key)
        if old and old[2][1] == kind:
            page, i, entry = old
            same = page.data(i, entry) if nf.has_length(kind) else entry[24 : 24 + len(data)]
            if same == data:
                return
        if not self._pages.current().write_item(namespace, kind, key, data):
            self._pages.next_page()
            if not self._pages.current().write_item(namespace, kind, key, data):
                raise error("ESP_ERR_NVS_NOT_ENOUGH_SPACE")
        if old:
            page, i, _ = old
            if not page.in_use():
                # Recycling has moved it meanwhile.
                page, i, _ = self._pages.find(namespace, ANY, key)
            page.erase_item(i)

    # Blobs.

    def _get_blob(self, namespace, key):
        index = self._pages.find(namespace, BLOB_INDEX, key)
        if not index:
            return None
        size, count, start = struct.unpack_from("<IBB", index[2], 24)
        value = b""
        for chunk in range(start, start + count):
            found = self._pages.find(namespace, BLOB_DATA, key, chunk)
            data = found and found[0].data(found[1], found[2])
            if data is None:
                self._erase_blob(namespace, key, start)
                return None
            value += data
        return value if len(value) == size else None

    def _set_blob(self, namespace, key, value):
        if len(value) > (self.size // PAGE_SIZE - 1) * CHUNK_MAX:
            raise error("ESP_ERR_NVS_VALUE_TOO_LONG")
        old = self._pages.find(namespace, BLOB_INDEX, key)
        start = 0
        if old:
            if self._get_blob(namespace, key) == value:
                return
            start = 0 if old[2][29] else _VERSION_1
        written = []
        try:
            self._write_blob(namespace, key, value, start, written)
        except OSError:
            for chunk in written:
                found = self._pages.find(namespace, BLOB_DATA, key, chunk)
                if found:
                    found[0].erase_item(found[1])
            raise
        if old:
            self._erase_blob(namespace, key, old[2][29])
        else:
            found = self._pages.find(namespace, BLOB_V1, key)
            if found:
                found[0].erase_item(found[1])

    def _write_blob(self, namespace, key, value, start, written):
        offset = 0
        chunk = start
        while True:
            page = self._pages.current()
            room = page.tailroom()
            no_room = room < len(value) or room == 0
            if chunk == start and no_room and room < CHUNK_MAX // 10:
                self._pages.next_page()
                if self._pages.current().tailroom() == room:
                    raise error("ESP_ERR_NVS_NOT_ENOUGH_SPACE")
                continue
            if not room:
                raise error("ESP_ERR_NVS_NOT_ENOUGH_SPACE")
            part = value[offset : offset + room]
            page.write_item(namespace, BLOB_DATA, key, part, chunk)
            written.append(chunk)
            chunk += 1
            offset += len(part)
            if offset < len(value) or room - len(part) < nf.ENTRY:
                self._pages.next_page()
            if offset == len(value):
                break
        index = struct.pack("<IBBH", len(value), chunk - start, start, 0xFFFF)
        if not self._pages.current().write_item(namespace, BLOB_INDEX, key, index):
            raise error("ESP_ERR_NVS_NOT_ENOUGH_SPACE")

    def _erase_blob(self, namespace, key, start):
        """The index first: chunks without one are erased at the next boot."""
        page, i, entry = self._pages.find(namespace, BLOB_INDEX, key, version=start)
        page.erase_item(i)
        for chunk in range(start, start + entry[28]):
            found = self._pages.find(namespace, BLOB_DATA, key, chunk)
            if found:
                found[0].erase_item(found[1])


def _key(name):
    key = name.encode()
    if len(key) > _KEY_MAX:
        raise error("ESP_ERR_NVS_KEY_TOO_LONG")
    return key


def _belongs(entry, indexes):
    key = nf.key_of(entry)
    for namespace, name, start, count in indexes:
        if entry[0] == namespace and key == name and start <= entry[3] < start + count:
            return True
    return False
