# SPDX-License-Identifier: MIT
"""`fleetling flash`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from fleetling import device, home
from fleetling.cli.options import chosen_port, home_option
from fleetling.cli.screen import errors, output
from fleetling.errors import FleetlingError
from fleetling.flashing import labels
from fleetling.flashing.bench import Bench, read_identity
from fleetling.flashing.ledger import NAME, Ledger
from fleetling.flashing.plan import Plan, Recipe, choose_layout
from fleetling.flashing.writing import differing
from fleetling.home import Home, write_private
from fleetling.image.flash import Region, first_files, layout_names
from fleetling.release.application import build_slot
from fleetling.release.firmware import read_firmware

if TYPE_CHECKING:
    from fleetling.flashing.rom import Rom

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
OUT = click.Path(dir_okay=False, path_type=Path)
WIDE = 160
BEFORE = ("default-reset", "usb-reset", "no-reset", "no-reset-no-sync")
AFTER = ("hard-reset", "soft-reset", "no-reset", "no-reset-stub", "watchdog-reset")


@click.command("flash")
@click.argument("device_id", required=False, metavar="[ID]")
@click.option("--firmware", required=True, type=FILE, help="MicroPython's .bin, as downloaded.")
@click.option(
    "-p",
    "--port",
    "ports",
    multiple=True,
    metavar="PORT",
    help="The board's serial port, or rfc2217:// or socket://; else the only likely one. Several "
    "with --csv. [env: FLEETLING_PORT, ESPTOOL_PORT]",
)
@click.option("--app", type=FOLDER, help="The application of the first slot: app.py and more.")
@click.option("--app-version", default="0", show_default=True, help="Its version.")
@click.option(
    "--layout",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="The partition table (4mb, 8mb, ..); auto is the largest that fits the board.",
)
@click.option("--bootloader", type=FILE, help="A bootloader for --firmware without one.")
@click.option("--dry-run", is_flag=True, help="Look at the board, show the plan, write nothing.")
@click.option("--image", type=OUT, help="Write the same bytes to this file, not to a board.")
@click.option("--erase", is_flag=True, help="Erase all of the flash first.")
@click.option("--force", is_flag=True, help="Also a board, or an id, that is somebody's already.")
@click.option("--csv", "table", type=FILE, help="Many boards: id, and if wanted ssid, password.")
@click.option("--labels", "out", type=OUT, help="Write a CSV file for the label printer.")
@click.option(
    "--label-text",
    default="{id}",
    show_default=True,
    help="What the QR code says: {id}, {mac}, {chip}, {date} and words around them.",
)
@click.option("--qr", is_flag=True, help="Show the QR code of the board at the end.")
@click.option(
    "--wait",
    "patience",
    type=click.FloatRange(1),
    default=600,
    show_default=True,
    metavar="SECONDS",
    help="With --csv, how long a port waits for its next board.",
)
@click.option(
    "--pause",
    type=click.FloatRange(0.1),
    default=2,
    show_default=True,
    metavar="SECONDS",
    help="With --csv, between two looks at a port; each takes the board there into its loader.",
)
@click.option("--baud", type=int, default=460800, show_default=True, help="Speed of the port.")
@click.option(
    "--before",
    type=click.Choice(BEFORE),
    default=BEFORE[0],
    show_default=True,
    help="How the chip gets into its loader.",
)
@click.option(
    "--after",
    type=click.Choice(AFTER),
    default=AFTER[0],
    show_default=True,
    help="How it gets out of it.",
)
@click.option("--no-stub", is_flag=True, help="Use the loader in the chip's ROM; slow.")
@home_option
def command(
    device_id: str | None,
    firmware: Path,
    ports: tuple[str, ...],
    app: Path | None,
    app_version: str,
    layout: str,
    bootloader: Path | None,
    dry_run: bool,
    image: Path | None,
    erase: bool,
    force: bool,
    table: Path | None,
    out: Path | None,
    label_text: str,
    qr: bool,
    patience: float,
    pause: float,
    baud: int,
    before: str,
    after: str,
    no_stub: bool,
    folder: Path | None,
) -> None:
    """Put all that the board ID needs on its flash: firmware, identity, agent, application.

    What is right already is not written again: after an interruption, run the same command. Until
    it has run to its end, the board does not start. A board that has an identity is refused.

    With --csv a batch of boards, on as many ports as are named: each board that is put on gets
    the next id. Run the same command again to go on; no id is given twice.
    """
    if (device_id is None) == (table is None):
        raise FleetlingError("Which board?", "Give its id, or a file of ids with --csv.")
    if layout != "auto" and layout not in layout_names():
        choose_layout(layout, None)
    if table is not None and image is not None:
        raise FleetlingError("An image is one board's", "Give an id, without --csv.")
    if table is not None and dry_run:
        raise FleetlingError("A batch has no plan of its own", "Give one id to --dry-run.")
    if table is None and len(ports) > 1:
        raise FleetlingError("One board is on one port", "Several ports are for --csv.")
    labels.check_template(label_text)
    place = home.find(folder)
    if device_id is not None:
        read_identity(place.boards, device_id)
    made = _recipe(firmware, bootloader, app, app_version)
    bench = Bench(made, Ledger(place.folder / NAME), place.boards, layout, erase, force)
    if device_id is not None and image is not None:
        _write_image(bench, device_id, image)
        return
    from fleetling.flashing.rom import connect

    link = partial(connect, baud=baud, before=before, stub=not no_stub)
    if table is not None:
        from fleetling.cli import flash_batch

        flash_batch.run(
            bench,
            place,
            table,
            [chosen_port(port) for port in ports or (None,)],
            partial(link, attempts=2),
            after=after,
            out=out,
            label_text=label_text,
            pause_s=pause,
            patience_s=patience,
        )
        return
    assert device_id is not None
    port = chosen_port(ports[0] if ports else None)
    with link(port) as board:
        _flash_one(bench, board, device_id, dry_run=dry_run, after=after)
    if not dry_run:
        _label(bench.ledger, place, device_id, out, label_text, qr)


def _recipe(firmware: Path, bootloader: Path | None, app: Path | None, app_version: str) -> Recipe:
    read = read_firmware(firmware.read_bytes())
    if app is None:
        files = first_files(app_version)
    else:
        slot = build_slot(app, app_version).files
        files = {**device.board_files(), "slots/factory.pack": device.pack(slot)}
    return Recipe(read, files, bootloader.read_bytes() if bootloader else b"")


def _write_image(bench: Bench, device_id: str, path: Path) -> None:
    if path.exists():
        raise FleetlingError(f"{path} is there already", "Name another file, or remove it.")
    chosen = choose_layout(bench.layout, None)
    plan = bench.recipe.plan(chosen, device_id, read_identity(bench.boards, device_id))
    _show(bench.recipe, plan, None)
    write_private(path, plan.image())
    output.print(
        f"{path} is the flash of {device_id}, {plan.layout.size >> 20} MB from offset 0, with its "
        "secrets: it is for one board.",
        highlight=False,
        soft_wrap=True,
    )
    if plan.keeps_bootloader:
        errors.print("It has no bootloader: the firmware came without one.", highlight=False)


def _flash_one(bench: Bench, board: Rom, device_id: str, *, dry_run: bool, after: str) -> None:
    chip = board.chip
    errors.print(
        f"{board.port}: {chip.name}, {chip.mac}, {_megabytes(chip.flash_size)}", highlight=False
    )
    plan = bench.plan(board, device_id)
    wanting = differing(board, plan)
    _show(bench.recipe, plan, None if bench.erase else wanting)
    if dry_run:
        output.print("Nothing was written.", highlight=False)
        board.reset(after)
        return
    try:
        wrote = _write(bench, board, plan, wanting)
    except KeyboardInterrupt:
        errors.print(
            f"{device_id} may be half written; then it does not start. Run this command again.",
            highlight=False,
        )
        raise
    board.reset(after)
    what = "is on the board, verified" if wrote else "was on the board already, verified"
    output.print(f"{device_id} {what}: {chip.mac}", highlight=False)


def _write(bench: Bench, board: Rom, plan: Plan, wanting: list[Region]) -> bool:
    with Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
        console=errors,
        disable=not errors.is_terminal,
    ) as shown:
        tasks = {each.label: shown.add_task(each.label, total=len(each.data)) for each in wanting}

        def progress(region: Region, done: int) -> None:
            if region.label not in tasks:
                tasks[region.label] = shown.add_task(region.label, total=len(region.data))
            shown.update(tasks[region.label], completed=done)

        return bench.flash(board, plan, progress, wanting)


def _label(
    ledger: Ledger,
    place: Home,
    device_id: str,
    out: Path | None,
    label_text: str,
    qr: bool,
) -> None:
    entry = ledger.of(device_id)
    assert entry is not None
    if out is not None:
        labels.write_labels(out, [entry], label_text)
        output.print(f"{out} has its label.", highlight=False)
    if qr:
        click.echo(labels.draw(labels.label_text(label_text, entry)))


def _show(recipe: Recipe, plan: Plan, wanting: list[Region] | None) -> None:
    """The plan as a table; `wanting` are the regions that are not right yet, None for all."""
    table = Table(box=None, pad_edge=False)
    for name, justify in (("offset", "right"), ("size", "right"), ("what", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("sha-256")
    table.add_column("")
    for region in plan.regions:
        there = wanting is not None and region not in wanting
        table.add_row(
            f"{region.offset:#x}",
            f"{region.used:,}",
            _what(recipe, plan, region),
            region.sha256[:12],
            "there already" if there else "",
        )
    # A pipe has no width that anything should be broken for.
    screen = output if output.is_terminal else Console(emoji=False, width=WIDE)
    screen.print(table, highlight=False, markup=False)
    if plan.keeps_bootloader:
        output.print("The board's own bootloader stays.", highlight=False)
    if recipe.rolls_back is None:
        output.print(
            "Rollback cannot be told from a bootloader's bytes; the official ones have it.",
            highlight=False,
        )


def _what(recipe: Recipe, plan: Plan, region: Region) -> str:
    firmware = recipe.firmware
    named = firmware.micropython or firmware.version or firmware.project
    megabytes = plan.layout.size >> 20
    words = {
        "bootloader": f"bootloader, set to {megabytes} MB",
        "table": f"partition table {plan.layout.name}",
        "nvs": f"nvs: the identity of {plan.device_id}",
        "otadata": "otadata: blank, the first slot starts",
        "vfs": f"vfs: {', '.join(sorted(recipe.files))}",
    }
    if region.label in words:
        return words[region.label]
    if firmware.image == region.data[: region.used]:
        return f"{region.label}: MicroPython {named} for {firmware.chip}"
    return f"{region.label}: blank head, nothing old starts"


def _megabytes(size: int | None) -> str:
    return f"{size >> 20} MB of flash" if size else "flash of unknown size"
