# SPDX-License-Identifier: MIT
"""Files on the disk, each whole or not there, in an order that a cut keeps."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["UNFINISHED", "alone", "move", "remove", "sync", "unfinished", "write_whole"]

# How the name of a file begins that is being written.
UNFINISHED = ".new-"
LOCK = ".lock"


def write_whole(path: Path, data: bytes) -> None:
    """Writes or replaces a file; on the disk under its name when this returns."""
    _folder(path.parent)
    with unfinished(path.parent, data) as new:
        # What a web server is to read, others may read; private folders keep the rest.
        new.chmod(0o644)
        new.replace(path)
    sync(path.parent)


@contextmanager
def unfinished(folder: Path, data: bytes) -> Iterator[Path]:
    """A new file with this content, on the disk and only for its owner (0600), to be given its
    name; without that it is gone at the end."""
    descriptor, name = tempfile.mkstemp(prefix=UNFINISHED, dir=folder)
    new = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield new
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Waits until no other process, nor thread, is in here with this folder. Not on Windows, which
    has no such lock, and where a part of the commands works."""
    if os.name == "nt":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as e:
            if e.errno != errno.EBADF:
                raise
            # NFS has no lock for what is open for reading alone, as a folder always is.
            os.close(descriptor)
            descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def move(path: Path, to: Path) -> None:
    """Moves a file within one file system."""
    _folder(to.parent)
    path.replace(to)
    sync(to.parent)


def remove(path: Path) -> None:
    """Removes a file that may be gone already."""
    path.unlink(missing_ok=True)


def _folder(path: Path) -> None:
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        sync(path.parent)


def sync(folder: Path) -> None:
    """Has the folder's names on the disk when it returns; Windows opens no folder for that."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
