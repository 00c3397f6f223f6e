# SPDX-License-Identifier: MIT
"""A year in the life of one board on CPython, in virtual time: alerts, wear, what is kept.

python tests/bench/year.py
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests/virtual")]

import a_year  # noqa: E402

if __name__ == "__main__":
    outcome = a_year.live(365)
    print(outcome)
    outcome.check()
