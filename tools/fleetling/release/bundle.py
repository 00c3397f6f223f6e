# SPDX-License-Identifier: MIT
"""Application bundles: a slot's manifest, and each of its files as a payload (docs/payload.md).

The board takes from it what it does not have; agent/update/bundle.py reads it there.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib

from fleetling.errors import FleetlingError
from fleetling.release import payload

__all__ = ["FILES", "LONGEST_MANIFEST", "LONGEST_PATH", "pack_app", "unpack_app"]

# What a board takes (agent/update/bundle.py).
FILES = 160
LONGEST_MANIFEST = 16384
LONGEST_PATH = 64
FRAME = 4096

_HEAD = struct.Struct("<4sBxxxII")
_WORD = struct.Struct("<I")
_MAGIC = b"FLAP"
_VERSION = 1
_MANIFEST = "manifest.json"


def pack_app(files: dict[str, bytes]) -> bytes:
    """The bundle of a slot.

    Args:
        files: the slot's files by path, manifest.json among them (`fleetling.device.slot_files`).

    Raises:
        FleetlingError: they are more than a board takes, or not what the manifest says.
    """
    manifest = files.get(_MANIFEST)
    if manifest is None:
        raise FleetlingError("A slot without manifest.json makes no bundle.")
    rows = json.loads(manifest)["files"]
    if sorted(row[0] for row in rows) != sorted(set(files) - {_MANIFEST}):
        raise FleetlingError("The manifest names other files than those given.")
    if len(rows) > FILES or len(manifest) > LONGEST_MANIFEST:
        raise FleetlingError(
            f"{len(rows)} files with a manifest of {len(manifest):,} bytes are more than a board "
            f"takes ({FILES}, {LONGEST_MANIFEST:,}).",
            "Put several modules into one file, or leave out what the board does not need.",
        )
    payloads = [payload.pack(files[path], frame=FRAME) if size else b"" for path, size, _ in rows]
    head = _HEAD.pack(_MAGIC, _VERSION, len(manifest), len(rows))
    head += b"".join(_WORD.pack(len(each)) for each in payloads)
    bundle = head + _WORD.pack(zlib.crc32(head)) + manifest + b"".join(payloads)
    if unpack_app(bundle) != files:
        raise AssertionError("the bundle does not give the files back")
    return bundle


def unpack_app(bundle: bytes) -> dict[str, bytes]:
    """The slot's files, all checked.

    Raises:
        FleetlingError: it is not a bundle, or is damaged.
    """
    try:
        return _unpack(bundle)
    except (struct.error, ValueError, KeyError, TypeError) as e:
        raise FleetlingError(f"This is not an application bundle: {e}.") from e


def _unpack(bundle: bytes) -> dict[str, bytes]:
    magic, version, length, count = _HEAD.unpack_from(bundle)
    at = _HEAD.size + _WORD.size * count
    if magic != _MAGIC or version != _VERSION or count > FILES:
        raise FleetlingError("This is not an application bundle.")
    if zlib.crc32(bundle[:at]) != _WORD.unpack_from(bundle, at)[0]:
        raise FleetlingError("The bundle's head is damaged.")
    lengths = [number for (number,) in struct.iter_unpack("<I", bundle[_HEAD.size : at])]
    at += _WORD.size
    manifest = bundle[at : at + length]
    at += length
    files = {_MANIFEST: manifest}
    rows = json.loads(manifest)["files"]
    for (path, size, digest), packed in zip(rows, lengths, strict=True):
        data = payload.unpack(bundle[at : at + packed]) if packed else b""
        if len(data) != size or hashlib.sha256(data).hexdigest() != digest:
            raise FleetlingError(f"{path} in the bundle is not what its manifest says.")
        files[path] = data
        at += packed
    if at != len(bundle):
        raise FleetlingError("The bundle has another length than its files.")
    return files
