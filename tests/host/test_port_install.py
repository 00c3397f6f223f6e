# SPDX-License-Identifier: MIT
"""What an installation plans, from what is on the board."""

from __future__ import annotations

import hashlib
from typing import Any, cast

import pytest
from test_port_checks import facts

from fleetling.errors import FleetlingError
from fleetling.image.nvs import LIMITS, Provision, build_nvs, factory_values
from fleetling.pki import make_authority
from fleetling.port import install
from fleetling.port.board import Board
from fleetling.port.facts import Facts

FILES = {"/slots/factory.pack": b"pack" * 9, "/boot.py": b"fl_state", "/main.py": b"agent.main()"}


class Files:
    """A board as far as a plan looks at it."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def sha256(self, path: str) -> tuple[int, str] | None:
        data = self.files.get(path)
        return None if data is None else (len(data), hashlib.sha256(data).hexdigest())

    def read(self, path: str) -> bytes:
        return self.files[path]


def planned(there: dict[str, bytes], known: Facts | None = None) -> install.Plan:
    return install.plan(cast(Board, Files(there)), known or facts(), FILES)


def test_only_what_differs_is_written() -> None:
    assert list(planned({}).changed) == list(FILES)
    assert planned(dict(FILES)).changed == {}
    made = planned({**FILES, "/boot.py": b"fl_state of an older version"})
    assert list(made.changed) == ["/boot.py"] and made.same == ["/slots/factory.pack", "/main.py"]
    assert made.kept == {} and made.limits == []


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (b"", False),
        (b"# boot.py -- run on boot-up\n#import esp\n\n", False),
        (b"print(1)\n", True),
        (b"# mine\nimport network\n", True),
        (b"state = 'fl_state'", False),
    ],
)
def test_what_somebody_would_miss_is_kept(data: bytes, kept: bool) -> None:
    assert bool(planned({"/boot.py": data}).kept) is kept


def test_main_comes_last_and_boot_before_it() -> None:
    assert list(install.wanted({}, "0"))[-2:] == ["/boot.py", "/main.py"]
    assert next(iter(install.wanted({}, "0"))) == install.PACK


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"version": [1, 20, 0]}, "1.20"),
        ({"platform": "rp2"}, "rp2"),
        ({"littlefs": False}, "littlefs"),
        ({"storage": [983_040, 10_000]}, "are needed"),
    ],
)
def test_what_cannot_work_is_refused(other: dict[str, Any], words: str) -> None:
    with pytest.raises(FleetlingError, match=words) as told:
        planned({}, facts(**other))
    assert told.value.hint


def test_what_it_cannot_protect_there_is_said() -> None:
    without = facts(partitions=[row for row in facts().said["partitions"] if row[4] != "ota_1"])
    assert [each.check for each in planned({}, without).limits] == ["table"]


def test_an_image_is_read_back_as_it_was_made() -> None:
    claims = make_authority("farm")
    made = Provision(
        *("pump", claims.identity.certificate_der, "b:1", [("home", "secret-one")]),
        enrol="b:2",
        claim=claims.claim("pump"),
    )
    assert factory_values(build_nvs(made)) == made.values()
    assert set(install.FACTORY_KEYS) == set(LIMITS)
    for image in (b"", b"\xff" * 0x4000, b"\xff" * 100):
        with pytest.raises(FleetlingError, match="no NVS image"):
            factory_values(image)
