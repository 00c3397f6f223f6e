# SPDX-License-Identifier: MIT
"""Reads a slot's manifest row by row, as it comes, since all of it as objects would fill a heap.

It is what `fleetling.device.manifest` writes, to the letter: compact JSON, {"format":1,
"version":"...","security":0,"files":[["path",size,"SHA-256 in hex"],...]}, sorted by path.
"""

from micropython import const

from agent.errors import Refused

_PREFIX = const(128)
_PIECE = const(256)
_FILES = const(160)
_NAME = const(64)
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/"
_START = b'"files":['


def rows(read):
    """Generator of (path, size, SHA-256 in hex), all bytes but the size; Refused
    ("bundle-manifest", "bundle-path") where it is not such a manifest.

    `read(count)` gives the manifest's next bytes, b"" at its end.
    """
    text = read(_PREFIX)
    at = text.find(_START)
    if at < 0:
        raise Refused("bundle-manifest", "start")
    text = text[at + len(_START) :]
    last = b""
    count = 0
    while True:
        end = text.find(b"]")
        while end < 0:
            more = read(_PIECE)
            if not more or len(text) > _PREFIX + _PIECE:
                raise Refused("bundle-manifest", "row")
            text += more
            end = text.find(b"]")
        if end == 0:
            break
        row = _row(text[:end], last, count)
        text = text[end + 1 :]
        yield row
        last = row[0]
        count += 1
    if text + read(_PIECE) != b"]}" or not count:
        raise Refused("bundle-manifest", "end")


def _row(text, last, count):
    parts = text.split(b'"')
    sound = len(parts) == 5 and parts[0] == (b",[" if count else b"[") and not parts[4]
    if not sound or count == _FILES or len(parts[3]) != 64:
        raise Refused("bundle-manifest", "row")
    path = parts[1]
    _check(path, last)
    size = parts[2][1:-1]
    if parts[2] != b"," + size + b"," or not 0 < len(size) < 9 or size.strip(b"0123456789"):
        raise Refused("bundle-manifest", "size")
    return path, int(size), parts[3]


def _check(path, last):
    sound = 0 < len(path) <= _NAME and path > last and path != b"manifest.json"
    if not sound or any([c not in _LETTERS for c in path]):
        raise Refused("bundle-path", str(path[:_NAME]))
    for part in path.split(b"/"):
        if part in (b"", b".", b".."):
            raise Refused("bundle-path", str(path))


def facts(head):
    """(version, security) that stand at the manifest's start."""
    _, found, rest = head.partition(b'"version":"')
    version, _, rest = rest.partition(b'"')
    _, also, rest = rest.partition(b'"security":')
    security = rest.split(b",")[0]
    if not found or not also or not security or security.strip(b"0123456789"):
        raise Refused("bundle-manifest", "start")
    return version.decode(), int(security)
