# SPDX-License-Identifier: MIT
"""A month in the life of one board. `make bench` lets a year pass."""

from __future__ import annotations

import sys

import a_year
import pytest

DAYS = 30


@pytest.mark.slow
def test_a_month(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = a_year.live(DAYS)
    with capsys.disabled():
        sys.stdout.write(f"\n{outcome}\n")
    outcome.check()
