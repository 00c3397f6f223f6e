# SPDX-License-Identifier: MIT
"""What a board's report says to the document that was sent."""

from __future__ import annotations

from typing import Any

import pytest

from fleetling.config.shown import APPLIED, PENDING, REFUSED, REVERTED, TRIAL, answer

SAID = {"version": 7, "epoch": "e", "trial": False, "reverted": False, "keys": {}}
WHOLE = {"code": "settings-size", "version": 8, "epoch": "e"}


@pytest.mark.parametrize(
    ("changes", "asked", "status", "codes"),
    [
        ({}, 7, APPLIED, {}),
        ({}, 8, PENDING, {}),
        ({"epoch": "f"}, 7, PENDING, {}),
        ({"trial": True}, 7, TRIAL, {}),
        ({"reverted": True}, 7, REVERTED, {}),
        ({"keys": {"name": "setting-length"}}, 7, REFUSED, {"name": "setting-length"}),
        ({"refused": WHOLE}, 8, REFUSED, {"document": "settings-size"}),
        ({"refused": WHOLE}, 7, APPLIED, {}),
        ({"refused": {**WHOLE, "epoch": "f"}}, 8, PENDING, {}),
        ({"refused": "nonsense", "keys": [1]}, 7, APPLIED, {}),
    ],
)
def test_the_answer_to_a_document(
    changes: dict[str, Any], asked: int, status: str, codes: dict[str, str]
) -> None:
    assert answer({**SAID, **changes}, "e", asked) == (status, codes)
