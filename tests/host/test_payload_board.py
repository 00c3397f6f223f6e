# SPDX-License-Identifier: MIT
"""What the host's writer makes, the board's code reads: on MicroPython, with a board's heap."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from firmware_pairs import edited, grown, like_firmware, relinked
from official_firmware import NotThere, official_download

from fleetling.release.firmware import read_firmware
from fleetling.release.payload import pack

ROOT = Path(__file__).parents[2]
MICROPYTHON = os.environ.get("MICROPYTHON") or str(Path(sys.executable).with_name("micropython"))


def read_on_board(folder: Path, payload: bytes, base: bytes | None, mode: str) -> dict[str, Any]:
    (folder / "payload").write_bytes(payload)
    (folder / "base").write_bytes(base or b"")
    command = [
        MICROPYTHON,
        "-X",
        "heapsize=200k",
        str(ROOT / "tests/bench/payload_board.py"),
        mode,
    ]
    command += [str(ROOT), str(folder / "payload"), str(folder / "base") if base else "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


BASE = like_firmware(150_000)


@pytest.mark.parametrize(
    "image",
    [
        edited(BASE, 100),
        grown(BASE, 2000, edits=40),
        grown(BASE, 6),
        BASE,
        like_firmware(90_000, seed=8),
        BASE[:1],
        BASE[:8192],
    ],
    ids=["edited", "grown", "shifted", "same", "other", "one-byte", "one-frame"],
)
def test_whole_and_delta_arrive(tmp_path: Path, image: bytes) -> None:
    assert read_on_board(tmp_path, pack(image), None, "discard")["ok"]
    assert read_on_board(tmp_path, pack(image, BASE), BASE, "discard")["ok"]


def test_the_heap_in_use_stays_below_24_kilobytes(tmp_path: Path) -> None:
    image = grown(BASE, 2000, edits=400)
    for payload, base in ((pack(image), None), (pack(image, BASE), BASE)):
        answer = read_on_board(tmp_path, payload, base, "live")
        assert answer["ok"]
        # On a 64-bit interpreter, whose small objects are twice as large as a board's.
        assert 8192 + 4096 < answer["buffers"] < 24 * 1024


@pytest.mark.slow
def test_official_firmware_arrives_whole_and_as_a_delta(tmp_path: Path) -> None:
    try:
        app = read_firmware(official_download()).image
    except NotThere as e:
        pytest.skip(f"official firmware not available: {e}")
    image = relinked(app, 412)
    whole, delta = pack(image), pack(image, app)
    assert read_on_board(tmp_path, whole, None, "discard")["ok"]
    assert read_on_board(tmp_path, delta, app, "discard")["ok"]
    assert len(whole) < 0.73 * len(image)
    assert len(delta) < 0.005 * len(image)
