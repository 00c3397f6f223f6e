# SPDX-License-Identifier: MIT
"""`fleetling sim`."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from fleetling.application import read_application
from fleetling.cli.screen import output
from fleetling.errors import FleetlingError
from fleetling.home import write_private
from fleetling.image.flash import build_flash, first_files
from fleetling.simboard.chip import stock, table
from fleetling.simboard.chip.flash import SECTOR, Flash, MemoryStore
from fleetling.simboard.process.board import AccessPoint
from fleetling.simboard.process.terminal import run_in_foreground

FOLDER = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
NVS_SIZE = 0x4000


@click.group("sim")
def command() -> None:
    """Simulated boards: the fake chip under the real MicroPython interpreter."""


@command.command()
@FOLDER
@click.option("--bare", is_flag=True, help="An empty file system, as stock firmware leaves it.")
@click.option(
    "--nvs",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The NVS image that `fleetling provision` made; without it the board has no identity.",
)
@click.option(
    "--app",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="An application's folder: app.py, settings.json, and what they need.",
)
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A whole flash instead, as `fleetling flash --image` writes it.",
)
def new(folder: Path, bare: bool, nvs: Path | None, app: Path | None, image: Path | None) -> None:
    """Make a board in FOLDER: flash with the agent on it."""
    if image is not None and (bare or nvs or app):
        raise FleetlingError("--image is a whole flash", "Leave --bare, --nvs and --app out.")
    if (folder / "flash.bin").exists():
        raise FleetlingError(
            f"{folder} already holds a board", "Choose another folder, or remove this one first."
        )
    own = read_application(app)[0] if app else {}
    flash = _whole(image) if image else _flash(bare, nvs, own)
    folder.mkdir(parents=True, exist_ok=True)
    write_private(folder / "flash.bin", flash)
    output.print(f"A board is in {folder}. Run it: fleetling sim run {folder}", highlight=False)


def _whole(path: Path) -> bytes:
    data = path.read_bytes()
    size = max(len(data) + -len(data) % SECTOR, table.ADDRESS + SECTOR)
    store = MemoryStore(size)
    store.write(0, data.ljust(size, b"\xff"))
    try:
        table.parse(Flash(store, size))
    except (table.TableError, ValueError) as e:
        raise FleetlingError(
            f"{path} is no whole flash: {e}",
            "One is made by `fleetling flash ID --firmware FILE --image FILE`.",
        ) from e
    return data


def _flash(bare: bool, nvs: Path | None, app: dict[str, bytes]) -> bytes:
    files = {"boot.py": b"# boot.py\n"} if bare else first_files("0", app)
    blank = b"\xff" * NVS_SIZE
    return build_flash(
        firmware=stock.build_app(), nvs=nvs.read_bytes() if nvs else blank, files=files
    )


@command.command()
@FOLDER
@click.option(
    "--wifi", multiple=True, metavar="SSID:PASSWORD", help="A network that is in the air there."
)
def run(folder: Path, wifi: tuple[str, ...]) -> int:
    """Run the board in FOLDER until Ctrl-C, with its prompt on a pty for mpremote."""
    points = [AccessPoint(*text.partition(":")[::2]) for text in wifi]
    return run_in_foreground(folder, points)
