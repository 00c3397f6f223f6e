# SPDX-License-Identifier: MIT
"""`fleetling install`."""

from __future__ import annotations

import sys
from pathlib import Path

import rich_click as click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from fleetling import home, provision
from fleetling.application import read_application
from fleetling.cli import findings
from fleetling.cli.options import chosen_port, home_option, port_option
from fleetling.cli.screen import errors, output
from fleetling.errors import FleetlingError
from fleetling.port import facts, install
from fleetling.port.board import TOOLS, Board, session


@click.command("install")
@click.option("--id", "device_id", metavar="ID", help="Give it this identity, once provisioned.")
@click.option(
    "--app",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="An application's folder, for the factory slot; else the agent alone.",
)
@click.option("--version", default="0", show_default=True, help="The application's version.")
@click.option("--with", "tool", type=click.Choice(TOOLS), default="mpremote", show_default=True)
@click.option("--force", is_flag=True, help="Replace a boot.py or main.py of your own, unasked.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@port_option
@home_option
def command(
    device_id: str | None,
    app: Path | None,
    version: str,
    tool: str,
    force: bool,
    dry_run: bool,
    port: str | None,
    folder: Path | None,
) -> None:
    """Put the agent on a board that runs MicroPython, over its prompt.

    Only what differs is written. Interrupted at any point, the board runs what it ran before, or
    the agent; run the same command again to finish.
    """
    application = read_application(app)[0] if app else {}
    values = provision.made_for(home.find(folder), device_id) if device_id else None
    files = install.wanted(application, version)
    with session(chosen_port(port), tool) as board:
        known = facts.ask(board)
        made = install.plan(board, known, files)
        _show(made, known)
        if dry_run:
            errors.print("Nothing was written.", highlight=False)
            return
        if made.kept and not force:
            _ask(made)
        _write(board, made)
        if values is not None:
            changed = install.provision(board, known, values)
            said = "is now" if changed else "already was"
            output.print(f"The board {said} {device_id}.", highlight=False)
        resets = board.restart
    if resets:
        output.print("Done; the board resets. Watch it: fleetling console", highlight=False)
    else:
        output.print("Done.", highlight=False)
    if values is None and not known.text("id"):
        errors.print(
            "It has no identity: fleetling provision ID, then fleetling install --id ID.",
            highlight=False,
        )


def _show(made: install.Plan, known: facts.Facts) -> None:
    findings.show(made.findings)
    for path, name in made.kept.items():
        output.print(f"{path} is yours; it is kept as {name}.", highlight=False, markup=False)
    for path, data in made.changed.items():
        output.print(f"to write  {path}  {len(data):,} bytes", highlight=False, markup=False)
    for path in made.same:
        output.print(f"is there  {path}", highlight=False, markup=False)
    runs = known.number("slot") & 3
    if runs and install.PACK in made.changed:
        errors.print(
            f"The board runs the slot {'?ab'[runs]}, an update: what is installed is its factory "
            "slot,\nto which `fleetling reset -p PORT --level app` goes back.",
            highlight=False,
        )


def _ask(made: install.Plan) -> None:
    names = ", ".join(made.kept)
    if not sys.stdin.isatty():
        raise FleetlingError(
            f"The board has a program of its own: {names}",
            "Nothing was written. --force replaces it, and keeps a copy on the board.",
        )
    click.confirm(f"Replace {names}?", abort=True, err=True)


def _write(board: Board, made: install.Plan) -> None:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not made.changed or not errors.is_terminal,
    ) as progress:
        task = progress.add_task("", total=made.size)
        try:
            install.carry_out(
                board,
                made,
                lambda path, count: progress.update(task, advance=count, description=path),
            )
        except KeyboardInterrupt:
            progress.stop()
            errors.print(
                "The board runs what it ran before, or the agent. Run the same command again.",
                highlight=False,
            )
            raise
