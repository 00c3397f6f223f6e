# SPDX-License-Identifier: MIT
"""A whole board, in virtual time, updated from a repository that this tool published."""

from __future__ import annotations

from pathlib import Path

from test_release_repository import new_keys
from update_world import World, app, firmware, slot_of

from fleetling.demo.virtual import START
from fleetling.release.keys import make_signer
from fleetling.release.repository import Repository
from fleetling.release.verify import verify
from fleetling.simboard.inprocess import Board

BOARDS = ("ESP32_GENERIC-OTA",)


class Published(World):
    """The world whose web server has what a Repository published."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.real = Repository.create(folder, new_keys())
        self.real.publish()
        self.anchor = (folder / "metadata/1.root.json").read_bytes()

    def publish(self) -> None:
        self.real.publish()
        assert not verify(self.real).problems
        folder = self.real.store.folder
        self.server.files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for part in ("metadata", "targets")
            for path in (folder / part).rglob("*")
            if path.is_file()
        }

    def build(self, version: str, **options: object) -> str:
        """An application's release; CPython boards take sources."""
        slot = slot_of(version, app(version))
        return self.real.add_app("pump", slot, built=START, **options)  # type: ignore[arg-type]


def updated(world: Published, board: Board, *targets: str) -> dict[str, object]:
    world.publish()
    world.assign(*targets)
    board.run(400)
    report = world.reports()[-1]
    assert report["state"] == "confirmed", (world.states(), report, board.console[-3000:])
    return report


def test_a_board_takes_application_and_delta_and_follows_new_keys(tmp_path: Path) -> None:
    world = Published(tmp_path / "repository")
    base, image = firmware("1.0.0"), firmware("1.1.0")
    path = world.build("1.1.0", requires={"firmware": "1.1.0"})
    world.real.add_firmware("esp32", "1.0.0", base, chip="esp32", boards=BOARDS, built=START)
    other = world.real.add_firmware(
        "esp32", "1.1.0", image, bases=[base], chip="esp32", boards=BOARDS, built=START
    )
    with world.board_of(image=base) as board:
        board.boot(20)
        report = updated(world, board, path, other)
        assert (report["app"], report["firmware"]) == ("1.1.0", "1.1.0")
        assert any(".delta" in request for request in world.server.requests)
        assert not any(".fw" in request for request in world.server.requests)
        for role in ("root", "targets", "snapshot", "timestamp", "pump"):
            new = make_signer()
            world.real.rotate(role, new.public_key)
            world.real.signers[new.public_key.keyid] = new
            world.publish()
        newest = world.real.add_firmware(
            "esp32", "1.2.0", firmware("1.2.0"), bases=[image], chip="esp32", built=START
        )
        report = updated(world, board, world.build("1.2.0", requires={"app": "1.1"}), newest)
        assert (report["app"], report["firmware"]) == ("1.2.0", "1.2.0")
        assert world.real.store.root_versions()[-1] == 5
