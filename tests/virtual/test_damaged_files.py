# SPDX-License-Identifier: MIT
"""A large file of which a block is spoilt: littlefs, which follows the blocks of all files, says
no more how full it is, and takes nothing. The board is on its broker all the same."""

from __future__ import annotations

from fleetling.demo.virtual import START, VirtualFleet

FILES = range(0x310000, 1 << 22, 4096)


def test_a_spoilt_block_keeps_no_board_away() -> None:
    fleet = VirtualFleet()
    with fleet.board(files={"data/large": b"some marker " * 2000}) as board:
        image = board.image()
        blocks = [at for at in FILES if b"some marker some" in image[at : at + 4096]]
        assert len(blocks) == 6
        for at in blocks[1:]:
            board.flash.store.write(at, b"\xa5" * 16)
        assert board.boot(200).reason == "time", board.console
        assert fleet.documents("up/birth")[-1]["storage"] == {"size": 0, "free": 0}
        assert [e["code"] for e in fleet.documents("up/event")] == ["boot"], board.console
        assert fleet.documents("up/health")[0]["m"]["storage"] == [0] * 4
        board.resume(2 * 3600)
        alerts = [e for e in fleet.documents("up/event") if e["code"] == "alert"]
        assert [(e["metric"], e["raised"]) for e in alerts] == [("storage", True)]
        fleet.command("dev", "reset", START + 100_000, level="app")
        board.run(100)
        assert fleet.documents("up/birth")[-1]["storage"]["free"] > 100_000
