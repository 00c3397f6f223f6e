# SPDX-License-Identifier: MIT
"""`fleetling release build`."""

from __future__ import annotations

from pathlib import Path

import rich_click as click
from rich.table import Table

from fleetling import home
from fleetling.cli.options import home_option
from fleetling.cli.releasing import (
    FILE,
    open_repository,
    say,
    say_built,
)
from fleetling.cli.screen import output
from fleetling.errors import FleetlingError
from fleetling.release import build as builder
from fleetling.release.packing import Packed

__all__ = ["build"]

PRODUCT = click.option("--product", required=True, metavar="NAME", help="Whose release it is.")
VERSION = click.option("--version", required=True, metavar="V", help="1 to 4 numbers with dots.")
SECURITY = click.option(
    "--security",
    type=click.IntRange(0, 0x7FFFFFFF),
    default=0,
    show_default=True,
    help="A counter; boards that confirmed it never go below.",
)
REQUIRES = click.option(
    "--requires",
    multiple=True,
    metavar="NAME=V",
    help="Least version of micropython, agent, app or firmware.",
)
BUILT = click.option(
    "--built", type=int, help="Unix time of the build; else SOURCE_DATE_EPOCH, else now."
)
LAYOUT = click.option(
    "--layout", default="4mb", show_default=True, help="The boards' partition table."
)
_NAMELESS = (
    "Boards with firmware before 1.25 do not tell their build and refuse this; "
    "name what they call their machine if they may take it."
)


@click.group()
def build() -> None:
    """Build a release and stage it."""


@build.command()
@click.argument("image", type=FILE)
@PRODUCT
@VERSION
@SECURITY
@REQUIRES
@BUILT
@click.option("--board", multiple=True, metavar="B", help="A build that may take it; else any.")
@click.option(
    "--machine",
    multiple=True,
    metavar="M",
    help="What such a board calls its machine, for firmware before 1.25, which has no build.",
)
@click.option("--slot", metavar="BYTES", help="Of the boards' slots, such as 0x180000.")
@LAYOUT
@click.option("--base", multiple=True, metavar="V", help="Make a delta from it; else the last 3.")
@home_option
def firmware(
    image: Path,
    product: str,
    version: str,
    security: int,
    requires: tuple[str, ...],
    built: int | None,
    board: tuple[str, ...],
    machine: tuple[str, ...],
    slot: str | None,
    layout: str,
    base: tuple[str, ...],
    folder: Path | None,
) -> None:
    """Build firmware of IMAGE: an app image, or a download of MicroPython."""
    repository = open_repository(home.find(folder))
    report = builder.build_firmware(
        repository,
        image,
        product,
        version,
        slot=builder.slot_size(layout) if slot is None else _bytes(slot),
        security=security,
        boards=board,
        machines=machine,
        requires=builder.read_requires(requires),
        bases=base or None,
        built=built,
    )
    python = f", MicroPython {report.micropython}" if report.micropython else ""
    say(f"{report.path}  {report.chip}{python}")
    table = _table("", "bytes", "share", "")
    table.add_row("image", f"{report.image:,}", _share(report.image, report.slot), "of the slot")
    table.add_row(
        "payload", f"{report.packed:,}", _share(report.packed, report.image), "of the image"
    )
    for name, delta in report.deltas.items():
        table.add_row(f"delta from {name}", *_delta(delta, report.packed))
    output.print(table)
    if board and not machine:
        say(_NAMELESS)
        if report.machine:
            say(f'The image calls itself --machine "{report.machine}".')
    say_built(repository, report.path)


def _delta(delta: Packed, whole: int) -> tuple[str, str, str]:
    if not delta.data:
        return "", "", "not kept: too dense for boards"
    end = "of the payload, kept" if delta.kept else "of the payload, not kept"
    return f"{delta.length:,}", _share(delta.length, whole), end


def _bytes(text: str) -> int:
    try:
        size = int(text, 0)
    except ValueError:
        size = 0
    if size <= 0:
        raise FleetlingError(f"{text!r} is no size", "Give bytes, such as 0x180000 or 1572864.")
    return size


@build.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@PRODUCT
@VERSION
@SECURITY
@REQUIRES
@BUILT
@click.option("--provides", multiple=True, metavar="MODULE", help="The firmware has it, too.")
@LAYOUT
@home_option
def app(
    source: Path,
    product: str,
    version: str,
    security: int,
    requires: tuple[str, ...],
    built: int | None,
    provides: tuple[str, ...],
    layout: str,
    folder: Path | None,
) -> None:
    """Build the application in the folder SOURCE, with this installation's agent."""
    repository = open_repository(home.find(folder))
    report = builder.build_app(
        repository,
        source,
        product,
        version,
        security=security,
        requires=builder.read_requires(requires),
        provides=provides,
        layout=layout,
        built=built,
    )
    say(f"{report.path}  {report.files} files of {report.most_files}")
    table = _table("", "bytes", "share", "")
    for name, size, of, what in (
        ("slot", report.image, report.space, "of the boards' file system, where three slots are"),
        ("manifest", report.manifest, report.most_manifest, "of what boards read"),
        ("bundle", report.packed, report.image, "of the slot"),
    ):
        table.add_row(name, f"{size:,}", _share(size, of), what)
    output.print(table)
    for path in report.native:
        say(f"{path} travels as source: the board compiles its machine code")
    if report.left_out:
        say(f"Stays here: {', '.join(report.left_out)}")
    say_built(repository, report.path)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, show_header=any(names))
    for number, name in enumerate(names):
        table.add_column(name, justify="right" if 0 < number < 3 else "left", overflow="fold")
    return table


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"
