# SPDX-License-Identifier: MIT
"""A quarter of a year in the life of one board. `make bench` lets the whole of it pass."""

from __future__ import annotations

import sys

import a_year
import pytest

DAYS = 91


@pytest.mark.slow
def test_a_quarter_of_a_year(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = a_year.live(DAYS)
    with capsys.disabled():
        sys.stdout.write(f"\n{outcome}\n")
    outcome.check()
