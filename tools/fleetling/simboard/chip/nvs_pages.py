# SPDX-License-Identifier: MIT
"""The pages of an NVS partition: their order, what a cut left between them, recycling.

`used` are the pages in use by their sequence, the last one is written to; `free` the others, the
next to be opened first. One page is always free. Recycling marks a page FREEING, copies what lives
in it, then erases it; a FREEING page found at boot is copied again from the start.
"""

from . import nvs_format as nf
from .esp_err import error
from .nvs_page import Page


class NoFreePage(Exception):
    """MicroPython erases the partition when it meets this at boot."""


class Pages:
    def __init__(self, flash, addr, size):
        self.used = []
        self.free = []
        for start in range(addr, addr + size, nf.PAGE_SIZE):
            page = Page(flash, start)
            (self.used if page.in_use() else self.free).append(page)
        self.used.sort(key=lambda page: page.sequence)
        if not self.used:
            self._next_sequence = 0
            self._activate()
            return
        self._next_sequence = self.used[-1].sequence + 1
        self._drop_duplicate()
        self._finish_freeing()
        if not self.free:
            raise NoFreePage()

    def current(self):
        return self.used[-1]

    def items(self):
        """Yields (page, index, head entry) of everything stored."""
        for page in self.used:
            for i, entry in page.items():
                yield page, i, entry

    def find(self, namespace, kind, key, chunk=nf.CHUNK_ANY, version=None):
        """(page, index, head entry) of an item, or None."""
        for page in self.used:
            found = page.find(namespace, kind, key, chunk, version)
            if found:
                return page, found[0], found[1]
        return None

    def next_page(self):
        """Closes the current page and opens another, recycling the one with the most room."""
        if self.current().state != nf.FULL:
            self.current().mark(nf.FULL)
        if not self.free:
            raise error("ESP_ERR_NVS_INVALID_STATE")
        if len(self.free) >= 2:
            self._activate()
            return
        least = min([page.count_written() for page in self.used])
        if least == nf.ENTRIES:
            raise error("ESP_ERR_NVS_NOT_ENOUGH_SPACE")
        page = next(page for page in self.used if page.count_written() == least)
        page.mark(nf.FREEING)
        self._activate()
        self._move(page)

    def _activate(self):
        if not self.free:
            raise error("ESP_ERR_NVS_NOT_ENOUGH_SPACE")
        page = self.free[0]
        if page.state != nf.UNINITIALIZED:
            page.erase()
        self.free.pop(0)
        page.sequence = self._next_sequence
        self._next_sequence += 1
        self.used.append(page)

    def _move(self, page):
        """Into the current page, which is empty. It gets its header with the first item."""
        page.copy_items(self.current())
        page.erase()
        self.used.remove(page)
        self.free.append(page)

    def _drop_duplicate(self):
        """The last item written may have an older twin in an earlier page."""
        items = list(self.current().items())
        if not items:
            return
        last = items[-1][1]
        kinds = (last[1], nf.BLOB_V1) if last[1] == nf.BLOB_INDEX else (last[1],)
        for kind in kinds:
            for page in self.used[:-1]:
                if page.state != nf.FREEING:
                    found = page.find(last[0], kind, nf.key_of(last), last[3])
                    if found:
                        page.erase_item(found[0])
                        return

    def _finish_freeing(self):
        for page in self.used:
            if page.state == nf.FREEING:
                newest = self.current()
                if newest.state == nf.ACTIVE:
                    # It holds nothing but a part of the copy.
                    newest.erase()
                    self.used.remove(newest)
                    self.free.append(newest)
                self._activate()
                self._move(page)
                return
