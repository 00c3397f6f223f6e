# SPDX-License-Identifier: MIT
"""A firmware's whole way onto flash, against a bare loop of writeblocks of the same data.

    [MICROPYTHON32=/path/to/micropython] python tests/bench/install.py

Measured, on MicroPython: HTTP from a server on this machine, the reader, writes, notes of
progress, and the hash of all that flash holds, by the very code that the updater runs. Flash
sleeps as long as a real one takes (docs/hardware.md, the fast end: 45 ms to erase a sector and
0.7 ms for each page of 256 bytes), for the bare loop as well.
Projected: the same on an ESP32, at the clock MicroPython starts it with and at its highest. What
the board's code takes of the processor, sockets aside, which are in the network's rate, is
measured with files in the place of flash, and taken to be so much slower there as one switch of
tasks is; DEFLATE and CRC are machine code, which is less
slow (payload.py says by how much). SHA-256 is the chip's own there, and reading flash, for a delta
and for the hash, has its own time. A slower flash makes every share larger.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/host")]

from firmware_pairs import grown  # noqa: E402
from payload import MACHINE_CODE, SWITCH_US, images, on_board, switch_us  # noqa: E402
from payload import compiled as payload_compiled  # noqa: E402
from refresh_board import interpreters  # noqa: E402
from update_fleet import serving  # noqa: E402

from fleetling import device  # noqa: E402
from fleetling.release.payload import pack  # noqa: E402
from fleetling.simboard.chip import stock  # noqa: E402

BOARD = ROOT / "tests/bench/install_board.py"
SLOT_USED = 1_447_000  # v1.26's app, 92 % of a stock slot
STOCK_MHZ, MOST_MHZ = 160, 240
SHA_RATE = 8 * STOCK_MHZ / MOST_MHZ  # bytes in a microsecond: ESP-IDF's own floor, at 240 MHz
READ_US = 114  # of a call to read flash, and bytes in a microsecond (docs/hardware.md)
READ_RATE = 6
ROUNDS = 3
NETWORK = 80_000  # bytes a second through MicroPython's sockets (docs/hardware.md)
WANTED = 80
KINDS = ("whole", "delta")


def run(
    mode: str,
    folder: Path,
    url: str,
    offer: dict[str, Any],
    heap: str = "1M",
    kind: str = "64-bit",
) -> dict[str, Any]:
    interpreter = interpreters()[kind]
    command = [interpreter, "-X", f"heapsize={heap}", BOARD, mode, folder / "agent", folder]
    done = subprocess.run(
        [*map(str, command), url, json.dumps(offer)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def prepare(folder: Path, size: int = SLOT_USED) -> tuple[bytes, bytes, str]:
    """Writes the agent, the running image, and the new one; (base, image, where from)."""
    source, app = images()
    body = app[: size - 1000]
    base: bytes = stock.build_app(version="1.0.0", body=body)
    image: bytes = stock.build_app(version="1.1.0", body=grown(body, 4096, edits=100)[: len(body)])
    (folder / "base").write_bytes(base)
    (folder / "image").write_bytes(image)
    for path, data in device.slot_files("0").items():
        target = folder / "agent" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return base, image, source


def measure(folder: Path, base: bytes, image: bytes) -> dict[str, dict[str, Any]]:
    """{"bare" | "whole" | "delta": what was found}."""
    (folder / "targets").mkdir()
    sectors = -(-len(image) // 4096)
    found: dict[str, dict[str, Any]] = {}
    offer: dict[str, Any] = {"size": len(image), "sha256": hashlib.sha256(image).hexdigest()}
    found["bare"] = run("bare", folder, "", {**offer, "base": None})
    parts = folder / "parts"
    payload_compiled(parts)
    with serving(folder, None) as url:
        for kind, against in (("whole", None), ("delta", base)):
            data = pack(image, against)
            (folder / "targets" / kind).write_bytes(data)
            digest = hashlib.sha256(base).hexdigest() if against else None
            each = {**offer, "length": len(data), "base": digest}
            address = url + "targets/" + kind
            found[kind] = one = run("install", folder, address, each)
            works = [run("work", folder, address, each, "300k") for _ in range(ROUNDS)]
            one.update(work=min(works, key=lambda work: work["cpu_us"]))
            for bits in interpreters():
                weighed = run("heap", folder, address, each, "1M", bits)
                one[bits] = f"{weighed['code']:,} + {weighed['buffers']:,} bytes"
            (parts / "payload").write_bytes(data)
            native = min(on_board("native", parts / "payload", None, "1M")["us"] for _ in "123")
            one.update(native=native, length=len(data))
    slower = SWITCH_US / switch_us()
    for kind in KINDS:
        project(found[kind], found["bare"], sectors, slower)
    return found


def project(one: dict[str, Any], bare: dict[str, Any], sectors: int, slower: float) -> None:
    """Adds what an ESP32 would take."""
    work = one["work"]
    interpreted = max(0.0, work["cpu_us"] - one["native"])
    chip = interpreted * slower + one["native"] * slower * MACHINE_CODE
    chip += work["hashed"] / SHA_RATE
    reading = READ_US * work["calls"] + work["bytes"] / READ_RATE
    stock = bare["flash_us"] + reading + chip
    fast = bare["flash_us"] + reading + chip * STOCK_MHZ / MOST_MHZ
    fetching = 1e6 * one["length"] / NETWORK
    one["share"] = 100 * bare["us"] / one["us"]
    one["interpreted"] = interpreted / sectors
    one["machine"] = one["native"] / sectors
    one["there"] = interpreted * slower / sectors / 1000
    one["inflating"] = one["native"] * slower * MACHINE_CODE / sectors / 1000
    one["stock"] = 100 * bare["flash_us"] / stock
    one["fast"] = 100 * bare["flash_us"] / fast
    one["fetched"] = 100 * bare["flash_us"] / (stock + fetching)
    one["seconds"] = (stock + fetching) / 1e6
    one["slower"] = slower


ROWS = (
    ("bytes fetched", "length", "{:,.0f}"),
    ("time, flash included", "us", "{:,.0f} us"),
    ("of it flash, asleep", "flash_us", "{:,.0f} us"),
    ("the board's code without flash, interpreted, a sector", "interpreted", "{:.0f} us"),
    ("DEFLATE and CRC, machine code, a sector", "machine", "{:.0f} us"),
    ("**rate against bare, measured here**", "share", "{:.1f} %"),
    ("interpreted, a sector, ESP32 at 160 MHz, projected", "there", "{:.1f} ms"),
    ("DEFLATE and CRC, a sector, the same", "inflating", "{:.1f} ms"),
    ("rate against bare, ESP32 at 160 MHz, projected, without the network", "stock", "{:.1f} %"),
    ("the same at 240 MHz, which an application may set", "fast", "{:.1f} %"),
    ("at 160 MHz with the network, which does not run at once with flash", "fetched", "{:.0f} %"),
    ("seconds of it all, projected", "seconds", "{:.0f} s"),
)


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base, image, source = prepare(folder)
        found = measure(folder, base, image)
    bare = found["bare"]
    print(f"# Installing a firmware of {len(image):,} bytes; content: {source}\n")
    print(f"Bare loop of writeblocks: {bare['us']:,.0f} us, flash {bare['flash_us']:,.0f} us.\n")
    print("| | whole | delta |\n|---|---|---|")
    heaps = [
        (f"heap of the code + at most besides, {bits}", bits, "{}") for bits in interpreters()
    ]
    for title, key, form in (*ROWS, *heaps):
        cells = (form.format(found[kind][key]) for kind in KINDS)
        print(f"| {title} | " + " | ".join(cells) + " |")
    slower = found["whole"]["slower"]
    print(
        f"\nProjection: at 160 MHz the interpreter {slower:.0f} times slower than here, as one"
        f" switch of tasks is, machine code {slower * MACHINE_CODE:.0f} times; {NETWORK:,} bytes a"
        f" second."
    )
    return int(any(found[kind]["share"] < WANTED for kind in KINDS))


if __name__ == "__main__":
    sys.exit(main())
