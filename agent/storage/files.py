# SPDX-License-Identifier: MIT
"""Files that change as a whole: a reader sees the old content or the new one.

littlefs commits a file when it is closed and renames atomically, so a replacement is written
beside the file and renamed over it. An append is committed by its close; a cut before that leaves
the file as it was.
"""

import os

from agent.errors import StorageError

# A file that begins with it can be overwritten in flash, also when it is gone (`scrub`).
SECRET = b"fleetling secret"


def read(path):
    """The file's bytes, or None when it does not exist."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as e:
        if e.args[0] == 2:  # ENOENT
            return None
        raise StorageError("fs-read", path)


def replace(path, data):
    """Makes `data` the file's content."""
    _write(path + ".new", data, "wb")
    try:
        os.rename(path + ".new", path)
    except OSError:
        raise StorageError("fs-write", path)


def append(path, data):
    _write(path, data, "ab")


def remove(path):
    """Removes a file; one that is not there is fine."""
    try:
        os.remove(path)
    except OSError as e:
        if e.args[0] != 2:  # ENOENT
            raise StorageError("fs-write", path)


def make_folder(path):
    """Makes a folder; one that is there already is fine."""
    try:
        os.mkdir(path)
    except OSError as e:
        if e.args[0] != 17:  # EEXIST
            raise StorageError("fs-write", path)


def _write(path, data, mode):
    try:
        with open(path, mode) as file:
            file.write(data)
    except OSError as e:
        raise StorageError("fs-full" if e.args[0] == 28 else "fs-write", path)
