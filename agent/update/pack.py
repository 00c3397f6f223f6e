# SPDX-License-Identifier: MIT
"""An application slot on flash: one file, a pack (docs/updates.md), and how a new one is made.

Invariants:
- a pack is written under another name and renamed once all of it is right, so boot.py sees the
  old one, none, or the new one;
- what the pack that runs has already is copied, not fetched;
- a pack that was begun is taken up after the last of its files that is right in flash;
- every file is hashed from flash before the pack gets its name.
"""

import os
import struct
from binascii import crc32, hexlify
from hashlib import sha256

from micropython import const

from agent.errors import Refused, StorageError
from agent.storage import files
from agent.update.bundle import rows

_HEAD = "<4sII"
_HEAD_SIZE = const(12)
_PIECE = const(4096)
_SPARE = const(32768)  # bytes that stay free for records, events, metadata
_SYNC = const(32768)  # written between two syncs: what a cut may cost


class Pack:
    """The pack at `path`, open for reading; Refused("pack-damaged") where there is none."""

    def __init__(self, path):
        self.path = path
        self._file = None
        try:
            self._file = open(path, "rb")
            magic, length, crc = struct.unpack(_HEAD, self._file.read(_HEAD_SIZE))
            self.manifest = self._file.read(length)
        except (OSError, ValueError):
            self.close()
            raise Refused("pack-damaged", path)
        if magic != b"FLPK" or crc32(self.manifest) != crc:
            self.close()
            raise Refused("pack-damaged", path)
        self.rows = rows(self.manifest)
        self.content = hexlify(sha256(self.manifest).digest()).decode()

    def close(self):
        if self._file:
            self._file.close()

    def places(self):
        """[(row, where its file begins)]."""
        at = _HEAD_SIZE + len(self.manifest)
        for row in self.rows:
            yield row, at
            at += row[1]

    def seek(self, at):
        self._file.seek(at)

    def read(self, count):
        try:
            return self._file.read(count)
        except OSError:
            raise StorageError("fs-read", self.path)

    async def right(self, pause):
        """How many of the first files are right, and where they end."""
        done = 0
        end = _HEAD_SIZE + len(self.manifest)
        self.seek(end)
        for row in self.rows:
            found = sha256()
            left = row[1]
            while left:
                data = self.read(min(left, _PIECE))
                if not data:
                    return done, end
                found.update(data)
                left -= len(data)
                await pause()
            if hexlify(found.digest()).decode() != row[2]:
                return done, end
            done += 1
            end += row[1]
        return done, end

    async def whole(self, pause):
        done, _ = await self.right(pause)
        return done == len(self.rows) and not self.read(1)


async def holds(path, content, pause):
    """Whether the pack at `path` is whole, and the one with this manifest (SHA-256 in hex)."""
    try:
        found = Pack(path)
    except Refused:
        return False
    try:
        return found.content == content and await found.whole(pause)
    finally:
        found.close()


def known(path):
    """(version, SHA-256 of the manifest in hex, security) of a pack; ("", "", 0) of none."""
    import json

    try:
        found = Pack(path)
    except Refused:
        return "", "", 0
    found.close()
    document = json.loads(found.manifest)
    return str(document.get("version", "")), found.content, document.get("security", 0)


class Maker:
    """Makes the slot `name` ("a" or "b") a pack of the bundle's manifest."""

    def __init__(self, name, bundle, pause):
        self._new = "/slots/" + name + ".new"
        self._old = "/slots/" + name + ".pack"
        self._bundle = bundle
        self._pause = pause
        self._file = None
        self._unsynced = 0

    async def begin(self):
        """How many files stand already. Refused("update-space") before anything is changed."""
        bundle = self._bundle
        kept = end = 0
        try:
            found = Pack(self._new)
        except Refused:
            found = None
        if found:
            if found.content == bundle.content:
                kept, end = await found.right(self._pause)
            found.close()
        size = _HEAD_SIZE + len(bundle.manifest) + sum([row[1] for row in bundle.rows])
        status = os.statvfs("/")
        free = status[0] * status[3] + _size(self._old) + _size(self._new)
        if size + _SPARE > free:
            raise Refused("update-space", "{} > {}".format(size + _SPARE, free))
        files.make_folder("/slots")
        files.remove(self._old)
        try:
            if kept:
                self._file = open(self._new, "r+b")
                self._file.seek(end)
            else:
                self._file = open(self._new, "wb")
                head = struct.pack(_HEAD, b"FLPK", len(bundle.manifest), crc32(bundle.manifest))
                self._file.write(head)
                self._file.write(bundle.manifest)
        except OSError as e:
            raise _error(e, self._new)
        return kept

    def write(self, data):
        try:
            self._file.write(data)
            self._unsynced += len(data)
            if self._unsynced >= _SYNC:
                self._unsynced = 0
                self._file.flush()
        except OSError as e:
            raise _error(e, self._new)

    def close(self):
        file, self._file = self._file, None
        if file:
            try:
                file.close()
            except OSError as e:
                raise _error(e, self._new)

    async def finish(self):
        """All files are right in flash: the pack gets its name."""
        self.close()
        if not await holds(self._new, self._bundle.content, self._pause):
            files.remove(self._new)
            raise StorageError("update-flash", self._new)
        try:
            os.rename(self._new, self._old)
        except OSError as e:
            raise _error(e, self._old)


def _size(path):
    try:
        return os.stat(path)[6]
    except OSError:
        return 0


def _error(e, path):
    return StorageError("fs-full" if e.args and e.args[0] == 28 else "fs-write", path)
