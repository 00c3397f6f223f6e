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
from agent.update import manifest

_HEAD = "<4sII"
_HEAD_SIZE = const(12)
_PIECE = const(2048)
_START = const(96)
_SPARE = const(32768)  # bytes that stay free for records, events, metadata
_SYNC = const(32768)  # written between two syncs: what a cut may cost


class Pack:
    """The pack at `path`, open for reading; Refused("pack-damaged") where there is none.

    Attributes: version, security, content (SHA-256 of the manifest in hex).
    """

    def __init__(self, path):
        self.path = path
        self._file = self._second = None
        try:
            self._file = open(path, "rb")
            self._look()
        except (OSError, ValueError, Refused):
            self.close()
            raise Refused("pack-damaged", path)

    def _look(self):
        magic, self._length, crc = struct.unpack(_HEAD, self._file.read(_HEAD_SIZE))
        if magic != b"FLPK":
            raise ValueError()
        found = sha256()
        checked = 0
        left = self._length
        while left:
            data = self._file.read(min(left, _PIECE))
            if not data:
                raise ValueError()
            if left == self._length:
                self.version, self.security = manifest.facts(data[:_START])
            found.update(data)
            checked = crc32(data, checked)
            left -= len(data)
        if checked != crc:
            raise ValueError()
        self.content = hexlify(found.digest()).decode()

    def close(self):
        for file in (self._file, self._second):
            if file:
                file.close()
        self._file = self._second = None

    def rows(self):
        """Generator of (path, size, SHA-256 in hex, where the file begins)."""
        if self._second is None:
            self._second = open(self.path, "rb")
        self._second.seek(_HEAD_SIZE)
        left = [self._length]

        def read(count):
            data = self._second.read(min(count, left[0]))
            left[0] -= len(data)
            return data

        at = _HEAD_SIZE + self._length
        for path, size, digest in manifest.rows(read):
            yield path, size, digest, at
            at += size

    async def pieces(self, at, size, take):
        """Hands the bytes to `take` in pieces; how many there were."""
        self._file.seek(at)
        left = size
        while left:
            try:
                data = self._file.read(min(left, _PIECE))
            except OSError:
                raise StorageError("fs-read", self.path)
            if not data:
                break
            await take(data)
            left -= len(data)
        return size - left

    async def right(self, pause):
        """How many of the first files are right, where they end, and whether that is all."""
        done = 0
        end = _HEAD_SIZE + self._length
        found = None

        async def take(data):
            found.update(data)
            await pause()

        for _, size, digest, at in self.rows():
            found = sha256()
            count = await self.pieces(at, size, take)
            if count != size or hexlify(found.digest()) != digest:
                return done, end, False
            done += 1
            end += size
        self._file.seek(end)
        return done, end, not self._file.read(1)


async def holds(path, content, pause):
    """Whether the pack at `path` is whole, and the one with this manifest (SHA-256 in hex)."""
    try:
        found = Pack(path)
    except Refused:
        return False
    try:
        return found.content == content and (await found.right(pause))[2]
    except (Refused, StorageError):
        return False
    finally:
        found.close()


def known(path):
    """(version, SHA-256 of the manifest in hex, security) of a pack; ("", "", 0) of none."""
    try:
        found = Pack(path)
    except Refused:
        return "", "", 0
    found.close()
    return found.version, found.content, found.security


class Maker:
    """Makes the slot `name` ("a" or "b") a pack of the bundle's manifest."""

    def __init__(self, name, bundle, pause):
        self.new = "/slots/" + name + ".new"
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
            found = Pack(self.new)
        except Refused:
            found = None
        if found:
            if found.content == bundle.content:
                kept, end, _ = await found.right(self._pause)
            found.close()
        size = _HEAD_SIZE + bundle.length + bundle.size
        status = os.statvfs("/")
        free = status[0] * status[3] + _size(self._old) + _size(self.new)
        if size + _SPARE > free:
            raise Refused("update-space", "{} > {}".format(size + _SPARE, free))
        files.make_folder("/slots")
        if not kept:
            try:
                await self._head()
            except StorageError:
                # All of it fits in the old one's place: so its manifest need not fit beside it.
                files.remove(self._old)
                await self._head()
        files.remove(self._old)
        try:
            self._file = open(self.new, "r+b")
            self._file.seek(end or _HEAD_SIZE + bundle.length)
        except OSError as e:
            raise _error(e, self.new)
        return kept

    async def _head(self):
        """Writes head and manifest, of which the head comes last."""
        bundle = self._bundle
        try:
            with open(self.new, "wb") as file:
                file.write(bytes(_HEAD_SIZE))
                crc = await bundle.manifest(file.write)
                file.seek(0)
                file.write(struct.pack(_HEAD, b"FLPK", bundle.length, crc))
            new = Pack(self.new)
            try:
                bundle.check(new.rows())
            finally:
                new.close()
        except OSError as e:
            raise _error(e, self.new)
        except Refused:
            files.remove(self.new)
            raise

    def write(self, data):
        try:
            self._file.write(data)
            self._unsynced += len(data)
            if self._unsynced >= _SYNC:
                self._unsynced = 0
                self._file.flush()
        except OSError as e:
            raise _error(e, self.new)

    def close(self):
        file, self._file = self._file, None
        if file:
            try:
                file.close()
            except OSError as e:
                raise _error(e, self.new)

    async def finish(self):
        """All files are right in flash: the pack gets its name."""
        self.close()
        if not await holds(self.new, self._bundle.content, self._pause):
            files.remove(self.new)
            raise StorageError("update-flash", self.new)
        try:
            os.rename(self.new, self._old)
        except OSError as e:
            raise _error(e, self._old)


def _size(path):
    try:
        return os.stat(path)[6]
    except OSError:
        return 0


def _error(e, path):
    return StorageError("fs-full" if e.args and e.args[0] == 28 else "fs-write", path)
