# SPDX-License-Identifier: MIT
"""A release is built, runs on a board and crashes; `fleetling crash` shows the lines that ran."""

from __future__ import annotations

import json
import shutil

import pytest
from published import publish_releases
from test_config_service import Bench, bench

from agent.version import VERSION
from fleetling import device
from fleetling.image.flash import build_flash
from fleetling.image.nvs import build_nvs
from fleetling.release.build import build_app
from fleetling.release.bundle import unpack_app
from fleetling.release.repository import Repository
from fleetling.simboard.chip import stock

__all__ = ["bench"]

APP = """\
import lib.well


async def main(task):
    await task.sleep(0.1)
    lib.well.level(0)
"""
WELL = "def level(depth):\n    return 40 // depth  # metres\n"


@pytest.mark.slow
def test_the_lines_of_the_release_that_crashed(bench: Bench) -> None:
    folder = bench.home / "pump"
    (folder / "lib").mkdir(parents=True)
    (folder / "app.py").write_text(APP)
    (folder / "lib/well.py").write_text(WELL)
    publish_releases(bench.home / "repository", ())
    repository = bench.home / "repository"
    build_app(Repository(repository), folder, "pump", "2.0.0")
    # Another product has the version, too, and the working copy goes on.
    (folder / "lib/well.py").write_text("# New.\n" * 9 + WELL)
    build_app(Repository(repository), folder, "fan", "2.0.0")
    slot = unpack_app((repository / "staged/targets/pump/2.0.0.app").read_bytes())
    provision = bench.fleet.provision("dev")
    board = bench.fleet.board(provision)
    flash = build_flash(
        firmware=stock.build_app(),
        nvs=build_nvs(provision),
        files={**device.board_files(), "slots/factory.pack": device.pack(slot)},
    )
    (bench.fleet.folder / "dev/flash.bin").write_bytes(flash)
    bench.fleet.store().expect(["dev"])
    with bench.fleet.operator() as operator:
        board.start()
        try:
            assert operator.wait(lambda s: "dev" in s.devices and bool(s.devices["dev"].crash), 30)
        finally:
            board.stop()
    shown = " ".join(bench.run("crash", "dev").stdout.split())
    assert "lib/well.py:2 in level return 40 // depth # metres" in shown
    assert "app.py:6 in main lib.well.level(0)" in shown
    assert f"application 2.0.0, agent {VERSION}" in shown
    assert "Lines from release pump 2.0.0" in shown
    found = json.loads(bench.run("crash", "dev", "--json").stdout)
    assert [row["source"] for row in found["source"]][-1] == "return 40 // depth  # metres"
    assert "pump 2.0.0" in found["source_from"][0] and found["source_missing"] == []
    # Without its sources the other build of the version is not taken for it.
    shutil.rmtree(repository / "sources/pump")
    shown = " ".join(bench.run("crash", "dev").stdout.split())
    assert "40 // depth" not in shown and "--source FOLDER" in shown
    assert "another build than 2.0.0 of fan" in shown
