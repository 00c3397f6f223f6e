# SPDX-License-Identifier: MIT
# ruff: noqa: B904, PTH123, UP032 - the MicroPython subset
"""What `tuf-client` runs on MicroPython: the agent's TUF client, a plain HTTP GET, and files.

echo '{"command": "refresh", "metadata_dir": ..., "now": ...}' | micropython tuf_board.py
"""

import asyncio
import json
import sys
from binascii import hexlify
from hashlib import sha256

HERE = __file__.rpartition("/")[0]
sys.path.insert(0, HERE + "/../..")

from agent.errors import AgentError, LinkError, Refused  # noqa: E402
from agent.storage import files  # noqa: E402
from agent.update.tuf import metadata  # noqa: E402
from agent.update.tuf.artifact import Check  # noqa: E402
from agent.update.tuf.client import Client  # noqa: E402
from agent.update.tuf.store import FileStore, quote  # noqa: E402

_PIECE = 16384
_NAME = 200  # bytes of a file's name, below what file systems take
_APART_S = 0.02  # between two downloads: the times of their files tell which came first


class Limits(metadata.Limits):
    """The suite's repositories are made for hosts, with python-tuf's caps."""

    root = 512000
    timestamp = 16384
    snapshot = 2000000
    targets = 5000000
    depth = 64
    rotations = 256
    roles = 20000
    keys = 256
    name = 200


class Url:
    """A base URL, which may or may not end in a slash."""

    def __init__(self, url):
        scheme, _, rest = url.partition("://")
        host, _, self.folder = rest.partition("/")
        if scheme != "http":
            raise LinkError("http-scheme", url)
        self.host, _, port = host.partition(":")
        self.port = int(port or 80)
        if self.folder and not self.folder.endswith("/"):
            self.folder += "/"

    async def get(self, path, max_length, take):
        """GET; hands the body to `take` in pieces, `max_length` bytes at most."""
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port)
        except OSError as e:
            raise LinkError("http-failed", str(e))
        try:
            request = "GET /{}{} HTTP/1.0\r\nHost: {}:{}\r\n\r\n"
            writer.write(request.format(self.folder, path, self.host, self.port).encode())
            await writer.drain()
            status = (await reader.readline()).split()
            length = await _headers(reader)
            if len(status) < 2 or status[1] != b"200":
                missing = len(status) > 1 and status[1] in (b"404", b"403")
                raise LinkError("not-found" if missing else "http-status", path)
            received = 0
            while True:
                piece = await reader.read(_PIECE)
                if not piece:
                    break
                received += len(piece)
                if received > max_length:
                    raise Refused("tuf-length", path)
                take(piece)
            if length is not None and received != length:
                raise LinkError("http-short", path)
        except OSError as e:
            raise LinkError("http-failed", str(e))
        finally:
            writer.close()
            await writer.wait_closed()


async def _headers(reader):
    """Reads up to the empty line; returns Content-Length or None."""
    length = None
    while True:
        line = await reader.readline()
        if not line.strip():
            return length
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)


def url_path(path):
    """A target's path for a URL: only what may not stand in a request line is encoded."""
    return "".join([c if "!" <= c <= "~" and c not in "?#" else quote(c) for c in path])


class Downloads:
    """Verified targets in a folder, one file each."""

    def __init__(self, folder, base):
        self.folder = folder
        self.base = base

    def has(self, target):
        data = files.read(self.path(target))
        if data is None:
            return False
        try:
            self._check(target, (data,))
        except Refused:
            return False
        return True

    def path(self, target):
        name = quote(target["path"])
        if len(name) > _NAME:
            name = str(hexlify(sha256(name.encode()).digest()), "utf-8")
        return self.folder + "/" + name

    async def fetch(self, target, path):
        pieces = []
        await self.base.get(url_path(path), target["length"], pieces.append)
        self._check(target, pieces)
        files.replace(self.path(target), b"".join(pieces))

    def _check(self, target, pieces):
        check = Check(target["length"], target["hashes"])
        for piece in pieces:
            check.update(piece)
        check.finish()


async def run(order):
    store = FileStore(order["metadata_dir"])
    if order["command"] == "init":
        with open(order["root"], "rb") as file:
            await Client(None, store, order["now"], Limits).anchor(file.read())
        return
    base = Url(order["metadata_url"])

    async def fetch(path, max_length):
        pieces = []
        await base.get(path, max_length, pieces.append)
        return b"".join(pieces)

    client = Client(fetch, store, order["now"], Limits)
    await client.refresh()
    for name in order["target_name"] if order["command"] == "download" else ():
        target = await client.find(name)
        downloads = Downloads(order["target_dir"], Url(order["target_base_url"]))
        if not downloads.has(target):
            await downloads.fetch(target, client.file_path(target))
            await asyncio.sleep(_APART_S)


def main():
    order = json.loads(sys.stdin.buffer.read())
    try:
        asyncio.run(run(order))
    except AgentError as e:
        sys.stderr.write("tuf-client: {} {}\n".format(e.code, e.detail))
        sys.exit(1)


if __name__ == "__main__":
    main()
