# SPDX-License-Identifier: MIT
from __future__ import annotations

import json
import struct

import pytest

from fleetling import device
from fleetling.errors import FleetlingError
from fleetling.release.bundle import FILES, pack_app, unpack_app

FILES_OF_ONE = {"app.py": b"print(1)\n" * 2000, "empty.py": b"", "data/logo.bin": bytes(9000)}


def slot(files: dict[str, bytes]) -> dict[str, bytes]:
    return {**files, "manifest.json": device.manifest("1.2.0", files, 3)}


def test_it_gives_the_slot_back() -> None:
    files = slot(FILES_OF_ONE)
    bundle = pack_app(files)
    assert unpack_app(bundle) == files
    assert bundle == pack_app(dict(reversed(files.items())))
    assert len(bundle) < sum(map(len, files.values())) / 5
    document = json.loads(files["manifest.json"])
    assert list(document) == ["format", "version", "security", "files"]
    assert document["security"] == 3


def test_a_flipped_bit_anywhere_is_found() -> None:
    bundle = pack_app(slot({"app.py": b"print(1)\n" * 9, "b.py": b"x"}))
    for at in range(len(bundle)):
        damaged = bytearray(bundle)
        damaged[at] ^= 0x10
        try:
            found = unpack_app(bytes(damaged))
        except FleetlingError:
            continue
        # What is left: a manifest whose other words differ; its hash is signed.
        assert found != unpack_app(bundle)
    for end in range(0, len(bundle), 7):
        with pytest.raises(FleetlingError):
            unpack_app(bundle[:end])
    with pytest.raises(FleetlingError, match="another length"):
        unpack_app(bundle + b"x")


def test_what_a_board_does_not_take_is_refused() -> None:
    with pytest.raises(FleetlingError, match="no bundle"):
        pack_app(FILES_OF_ONE)
    with pytest.raises(FleetlingError, match="other files"):
        pack_app({**slot(FILES_OF_ONE), "more.py": b"x"})
    many = {f"m{number}.py": b"x" for number in range(FILES + 1)}
    with pytest.raises(FleetlingError, match="more than a board takes"):
        pack_app(slot(many))


def test_a_bundle_of_the_agent_has_room() -> None:
    files = device.slot_files("1.0.0", {"app.py": b"async def main(task):\n    pass\n"})
    bundle = pack_app(files)
    length, count = struct.unpack_from("<II", bundle, 8)
    assert length == len(files["manifest.json"]) < 15_000 and count == len(files) - 1 < 136
