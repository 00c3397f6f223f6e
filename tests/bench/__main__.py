# SPDX-License-Identifier: MIT
"""Every benchmark, one after the other: `make bench`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = (
    "agent",
    "crypto",
    "monitor",
    "payload",
    "install",
    "metadata",
    "memory",
    "year",
)


def main() -> int:
    failed = []
    for name in BENCHMARKS:
        print(f"\n--- {name}", flush=True)
        if subprocess.run([sys.executable, HERE / f"{name}.py"], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
