# SPDX-License-Identifier: MIT
from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fleetling import files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_written_whole_others_may_read(tmp_path: Path) -> None:
    path = tmp_path / "public" / "index"
    for data in (b"one", b"two"):
        files.write_whole(path, data)
        assert path.read_bytes() == data and mode(path) == 0o644
    assert [each.name for each in path.parent.iterdir()] == ["index"]


def test_what_gets_no_name_is_its_owners_and_does_not_stay(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), files.unfinished(tmp_path, b"key") as new:
        assert new.read_bytes() == b"key" and mode(new) == 0o600
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
