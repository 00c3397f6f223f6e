# SPDX-License-Identifier: MIT
"""Trusted metadata as files, byte for byte as it came: `root.json`, and so on for each role.

A role's name may be anything; in a file name all but unreserved characters of RFC 3986 are
percent-encoded, so that no name leads out of the folder.

Delegated roles are kept to save fetching them, and no more of them than there is room for: who may
delegate could else fill the file system, and a role never leaves a snapshot.
"""

import os

from micropython import const

from agent.errors import StorageError
from agent.storage import files

_TOP_LEVEL = ("root", "timestamp", "snapshot", "targets")
_MOST = const(131072)  # bytes of all files
_SPARE = const(65536)  # that stay free


def quote(name):
    """`name` percent-encoded, for one segment of a path or of a URL."""
    out = ""
    for c in name.encode():
        letter = chr(c)
        safe = "a" <= letter <= "z" or "A" <= letter <= "Z" or "0" <= letter <= "9"
        out += letter if safe or letter in "_.-~" else "%{:02X}".format(c)
    return out


class FileStore:
    """A folder; what it holds is trusted because the client verifies it again when it loads it."""

    def __init__(self, folder, make_room=None):
        """`make_room(size)` is called before a file is read."""
        self.folder = folder
        self._make_room = make_room

    def path(self, role):
        return self.folder + "/" + quote(role) + ".json"

    def get(self, role):
        """The role's bytes, or None."""
        path = self.path(role)
        try:
            size = os.stat(path)[6]
            if self._make_room:
                self._make_room(size)
            with open(path, "rb") as file:
                return file.read(size)  # one allocation; without a size the buffer grows in steps
        except OSError as e:
            if e.args[0] == 2:  # ENOENT
                return None
            raise StorageError("fs-read", path)

    def put(self, role, data):
        """Replaces the role's file as a whole, or raises StorageError and leaves it. A delegated
        role for which there is little room is not kept."""
        if role in _TOP_LEVEL or self._has_room(len(data)):
            files.replace(self.path(role), data)

    def _has_room(self, size):
        try:
            status = os.statvfs("/")
            if status[0] * status[3] < size + _SPARE:
                return False
            for name in os.listdir(self.folder):
                size += os.stat(self.folder + "/" + name)[6]
        except OSError:
            return False
        return size <= _MOST

    def delete(self, role):
        try:
            os.remove(self.path(role))
        except OSError as e:
            if e.args[0] != 2:  # ENOENT
                raise StorageError("fs-write", role)
