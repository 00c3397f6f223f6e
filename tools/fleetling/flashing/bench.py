# SPDX-License-Identifier: MIT
"""One board after the other: what it is looked at for, refused for, and given.

with connect("/dev/ttyUSB0") as board:
    plan = bench.plan(board, "pump-7")
    bench.flash(board, plan)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fleetling.errors import FleetlingError
from fleetling.flashing.board import Chip, Loader
from fleetling.flashing.ledger import Ledger
from fleetling.flashing.plan import Plan, Recipe, check_kept_bootloader, choose_layout
from fleetling.flashing.standing import Standing, read_standing, standing_of
from fleetling.flashing.writing import Progress, differing, write_plan
from fleetling.image.flash import TABLE_AT, Layout, Region

__all__ = ["Bench", "read_identity"]


def read_identity(boards: Path, device_id: str) -> bytes:
    """The NVS image that `fleetling provision` made.

    Raises:
        FleetlingError: it did not, or the file is another board's.
    """
    path = boards / device_id / "nvs.bin"
    try:
        data = path.read_bytes()
    except OSError as e:
        raise FleetlingError(
            f"{device_id} is not provisioned: {path} cannot be read",
            f"First: fleetling provision {device_id}",
        ) from e
    found = read_standing(data).device_id
    if found != device_id:
        raise FleetlingError(
            f"{path} holds the identity of {found or 'nobody'}, not of {device_id}",
            f"Make it anew: fleetling provision --again {device_id}",
        )
    return data


@dataclass
class Bench:
    """Where boards are flashed.

    Attributes:
        recipe: what all of them get.
        ledger: which identity is on which board.
        boards: the folder that `fleetling provision` fills.
        layout: by name, or "auto" for the largest that fits.
        erase: everything else on the flash, too.
        force: also a board that has an identity, or whose identity another board has.
    """

    recipe: Recipe
    ledger: Ledger
    boards: Path
    layout: str = "auto"
    erase: bool = False
    force: bool = False

    def look(self, board: Loader) -> tuple[Layout, Standing]:
        """The layout for a board, and what it carries already.

        Raises:
            FleetlingError: it can never be given this recipe.
        """
        self._check_chip(board.chip)
        layout = choose_layout(self.layout, board.chip.flash_size)
        self.recipe.firmware.check_fits(layout.slot)
        if not self.recipe.bootloader:
            if self.erase:
                raise FleetlingError(
                    "The file is an app image, and --erase would erase the bootloader",
                    "Give MicroPython's whole .bin as downloaded.",
                )
            start = board.chip.bootloader_at
            check_kept_bootloader(board.read(start, TABLE_AT - start), self.recipe.chip, layout)
        return layout, standing_of(board, layout)

    def _check_chip(self, chip: Chip) -> None:
        if chip.locked:
            raise FleetlingError(
                f"This chip has {' and '.join(chip.locked)} burnt in",
                "It takes only what is signed or encrypted for it: nothing was written. Update it "
                "over the air; docs/flashing.md says what else can be done.",
            )
        if chip.name != self.recipe.chip:
            raise FleetlingError(
                f"The firmware is for {self.recipe.chip}, the board is an {chip.name}",
                "Take the firmware for that chip, or the other board.",
            )

    def plan(
        self, board: Loader, device_id: str, seen: tuple[Layout, Standing] | None = None
    ) -> Plan:
        """What this board is given, after every check; nothing is written.

        Args:
            seen: what `look` said, where somebody has looked already.

        Raises:
            FleetlingError: it is refused, and why.
        """
        layout, standing = seen or self.look(board)
        plan = self.recipe.plan(layout, device_id, read_identity(self.boards, device_id))
        if not self.force:
            self.ledger.check(device_id, board.chip.mac)
            check_standing(standing, device_id)
        return plan

    def flash(
        self,
        board: Loader,
        plan: Plan,
        progress: Progress = lambda region, done: None,
        wanting: list[Region] | None = None,
    ) -> bool:
        """Binds the identity to the board, writes what differs, and notes that it is done.

        Args:
            wanting: what `differing` found, where somebody has looked already.

        Returns:
            Whether anything had to be written.

        Raises:
            FleetlingError: the board is lost, or the id is another board's. Run it again.
        """
        chip = board.chip
        self.ledger.bind(plan.device_id, chip.mac, chip.name, force=self.force)
        found = differing(board, plan) if wanting is None else wanting
        write_plan(board, plan, found, erase=self.erase, progress=progress)
        entry = self.ledger.of(plan.device_id)
        wrote = bool(found) or self.erase
        if wrote or entry is None or not entry.flashed:
            self.ledger.finish(plan.device_id, chip.mac, chip.name)
        return wrote


def check_standing(standing: Standing, device_id: str) -> None:
    """Refuses a board that has an identity which this one would end.

    Raises:
        FleetlingError: it has.
    """
    if standing.enrolled:
        raise FleetlingError(
            f"This board is enrolled, as {standing.device_id or 'somebody'}",
            "It has a key of its own that would be lost. Update it over the air; or, if it is to "
            f"start anew: fleetling provision --again {device_id or 'ID'}, then --force.",
        )
    if standing and standing.device_id != device_id:
        raise FleetlingError(
            f"This board was given the identity {standing.device_id}",
            f"Flash it as {standing.device_id}, or take --force to make it another.",
        )
