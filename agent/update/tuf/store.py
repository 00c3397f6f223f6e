# SPDX-License-Identifier: MIT
"""Trusted metadata as files, byte for byte as it came: `root.json`, and so on for each role.

A role's name may be anything; in a file name all but unreserved characters of RFC 3986 are
percent-encoded, so that no name leads out of the folder.
"""

import os

from agent.errors import StorageError
from agent.storage import files


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
        """Replaces the role's file as a whole, or raises StorageError and leaves it."""
        files.replace(self.path(role), data)

    def delete(self, role):
        try:
            os.remove(self.path(role))
        except OSError as e:
            if e.args[0] != 2:  # ENOENT
                raise StorageError("fs-write", role)
