# SPDX-License-Identifier: MIT
"""A Ctrl-C while a child process starts leaves none behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetling.broker import process as broker_process
from fleetling.demo.fleet import TemporaryFleet


def test_a_broker_that_is_not_ready_yet_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broker = TemporaryFleet(tmp_path).broker
    seen = []

    def interrupted(port: int) -> bool:
        assert broker._process is not None
        seen.append(broker._process)
        raise KeyboardInterrupt

    monkeypatch.setattr(broker_process, "_listens", interrupted)
    with pytest.raises(KeyboardInterrupt), broker:
        pass
    assert [child.returncode for child in seen] != [None] and not broker.running
