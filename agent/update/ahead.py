# SPDX-License-Identifier: MIT
"""The repository's metadata, fetched to files before any of it is looked at.

A connection with TLS and the code that verifies do not fit a stock board's heap together. So the
connection is closed before that code is loaded (decision 0022). Which files it will ask for is
read from bytes that nobody has vouched for yet. That decides what is fetched and nothing else: the
client asks for each file by the name that it trusts, and holds what lies here against its caps,
versions and signatures. What it asks for and is not here is fetched in the next life.

Loaded to fetch, and once more to read.
"""

import os

from micropython import const

from agent.errors import LinkError, StorageError
from agent.storage import files
from agent.update import record
from agent.update.site import FOLDER
from agent.update.tuf.store import quote

_DEADLINE_S = const(600)
_LONGEST = const(32768)  # the greatest of the client's caps
_PIECE = const(4096)  # each is a commit of the file system
_ROOTS = const(32)
_DIGITS = const(9)
_SPARE = const(65536)  # bytes that stay free, so that nobody can fill the file system from outside


async def bring(site, paths, wanted):
    """Fetches what the client will ask for to find the targets at `paths`, and the files `wanted`.

    LinkError for the network, StorageError for flash; nothing lies here then.
    """
    record.forget_ahead()
    files.make_folder(record.AHEAD)
    piece = memoryview(bytearray(_PIECE))
    http = site.http(_DEADLINE_S)
    complete = False
    try:
        await _fetch(site, http, "timestamp.json", piece)
        snapshot = _version("timestamp.json", "snapshot") + ".snapshot.json"
        if await _fetch(site, http, snapshot, piece):
            for role in {"targets"} | {path.partition("/")[0] for path in paths}:
                version = _version(snapshot, role)
                if version:
                    await _fetch(site, http, "{}.{}.json".format(version, quote(role)), piece)
        for name in wanted:
            await _fetch(site, http, name, piece)
        # Last, since it ends with one that is not there, and so with the connection.
        version = site.root_version
        trusted = files.read(FOLDER + "/root.json")
        if trusted:
            version = int(_number(trusted, 0) or version) + 1
        for number in range(version, version + _ROOTS):
            if not await _fetch(site, http, "{}.root.json".format(number), piece):
                break
        complete = True
    finally:
        await http.close()
        if not complete:
            record.forget_ahead()


class Fetched:
    """A source for `catalogue.look`: what lies here."""

    def __init__(self, spare):
        self.make_room = spare.make_room

    async def read(self, path, longest):
        """LinkError("update-ahead", path) where nobody has fetched it."""
        try:
            size = os.stat(_place(path))[6]
        except OSError:
            raise LinkError("update-ahead", path)
        if not size:
            raise LinkError("not-found", path)
        if size > longest:
            raise LinkError("http-long")
        self.make_room(size)
        with open(_place(path), "rb") as file:
            return file.read(size)  # in one piece

    async def close(self):
        record.forget_ahead()


def _place(path):
    return record.AHEAD + "/" + path


async def _fetch(site, http, path, piece):
    """Whether the server has it; of one that it has not, an empty file is the note."""
    await site.pause()
    status = await http.get(site.url + "metadata/" + path)
    if status not in (200, 403, 404):
        raise LinkError("http-status", str(status))
    place = _place(path)
    files.remove(place)
    files.append(place, b"")
    size = at = 0
    count = status == 200
    while count:
        count = await http.readinto(piece[at:])
        at += count
        if at == _PIECE or not count:
            size += at
            if size > _LONGEST:
                raise LinkError("http-long")
            status = os.statvfs("/")
            if status[0] * status[3] < _SPARE:
                raise StorageError("fs-full", place)
            files.append(place, piece[:at])
            at = 0
    return size > 0


def _version(path, role):
    """The version that a file here lists of a role, as text; "" where it does not."""
    data = files.read(_place(path)) or b""
    at = data.find(b'"' + role.encode() + b'.json"')
    return _number(data, at) if at >= 0 else ""


def _number(data, at):
    """The first version from there on."""
    at = data.find(b'"version"', at)
    text = data[at + 9 : at + 16 + _DIGITS].lstrip(b": \r\n\t") if at >= 0 else b""
    end = 0
    while end < min(len(text), _DIGITS) and 48 <= text[end] <= 57:
        end += 1
    return text[:end].decode()
