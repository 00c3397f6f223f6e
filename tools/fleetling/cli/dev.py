# SPDX-License-Identifier: MIT
"""`fleetling dev`."""

from __future__ import annotations

import json
import sys

import rich_click as click

from fleetling.cli.options import chosen_port, port_option
from fleetling.cli.screen import errors, output
from fleetling.cli.targets import JSON
from fleetling.errors import FleetlingError
from fleetling.port.board import Board, session

RESET = click.option(
    "--reset/--no-reset", "reset", default=None, help="Reset at once, or not; else it is asked."
)


@click.group("dev")
def command() -> None:
    """Development mode of a board at the bench: no watchdog, so that its prompt can be used in
    peace. It stays on until it is switched off."""


@command.command()
@RESET
@port_option
def on(reset: bool | None, port: str | None) -> None:
    """Switch it on, from the next reset."""
    _set(1, reset, port)


@command.command()
@RESET
@port_option
def off(reset: bool | None, port: str | None) -> None:
    """Switch it off, from the next reset."""
    _set(0, reset, port)


@command.command()
@JSON
@port_option
def status(as_json: bool, port: str | None) -> None:
    """Whether it is on, and whether the watchdog runs. Stops the agent, and resets the board."""
    with session(chosen_port(port)) as board:
        wanted = _known(board).number("fl_state", "dev") == 1
        watched = board.watched
    if as_json:
        click.echo(json.dumps({"development": wanted, "watchdog": watched}))
        return
    said = "on" if wanted else "off"
    now = "the watchdog runs" if watched else "no watchdog runs"
    output.print(f"Development mode is {said}; {now}.", highlight=False)


def _set(value: int, reset: bool | None, port: str | None) -> None:
    with session(chosen_port(port)) as board:
        before = _known(board).number("fl_state", "dev", value)
        word = "on" if value else "off"
        how = "already was" if before == value else "is"
        output.print(f"Development mode {how} {word}.", highlight=False)
        board.restart = _wanted(board, bool(value), reset)
    if board.restart:
        output.print("The board resets.", highlight=False)
    elif board.watched:
        errors.print(
            "The watchdog cannot be stopped, and nobody feeds it now: the board resets within a "
            "minute.",
            highlight=False,
        )
    else:
        errors.print("It counts from the next reset on.", highlight=False)


def _known(board: Board) -> Board:
    """The board, if the agent is on it."""
    if not board.running and board.sha256("/slots/factory.pack") is None:
        raise FleetlingError("There is no agent on this board", "fleetling install")
    return board


def _wanted(board: Board, on: bool, reset: bool | None) -> bool:
    if board.watched != on or reset is not None:
        # Nothing to change by a reset but that the agent runs again.
        return board.running if reset is None else reset
    why = "The watchdog cannot be stopped while the board runs." if on else "It has none yet."
    if not sys.stdin.isatty():
        errors.print(f"{why} A reset is needed: --reset.", highlight=False)
        return False
    return click.confirm(f"{why} Reset now?", default=True, err=True)
