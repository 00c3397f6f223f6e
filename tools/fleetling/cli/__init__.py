# SPDX-License-Identifier: MIT
"""The `fleetling` command: a thin layer over the library.

A command is one module here, loaded when it is called, so that `--help` is quick. What the user or
the device did is a FleetlingError and shows as two lines; anything else is a bug and shows its
trace.
"""

from __future__ import annotations

import importlib
import io
import signal
import sys
from typing import Any

import rich_click as click
from rich.markup import escape

import fleetling
from fleetling.cli.interrupted import heard_everywhere
from fleetling.cli.screen import errors
from fleetling.cli.surroundings import told
from fleetling.errors import FleetlingError

__all__ = ["main"]

COMMANDS = {
    "broker": "Write the broker's configuration, or run one.",
    "config": "Show and change settings of devices, groups, the fleet.",
    "console": "A board's prompt and log; it comes back after a reset.",
    "crash": "The last crash of a board, with the lines of its source.",
    "demo": "Watch a small fleet on this machine do its main job.",
    "dev": "Development mode of a board at the bench: its watchdog off, or on.",
    "device": "List, show, tag, revoke devices; let one enrol again.",
    "doctor": "Look a board over, and what it needs around it.",
    "events": "What boards have told: starts, crashes, alerts, resets.",
    "flash": "Put all that a board needs on its flash: one board, or a batch.",
    "group": "Group devices by rules, to set them together.",
    "hub": "Serve the fleet: sign certificates, keep settings where they belong.",
    "init": "Make a fleet: its authorities, keys and settings.",
    "install": "Put the agent on a board that runs MicroPython.",
    "ports": "The serial ports, and what may be on them.",
    "provision": "Make what boards leave the bench with.",
    "pull": "Take log, crash, settings off a board, without its secrets.",
    "release": "Build, sign and publish firmware and applications.",
    "reset": "Take devices back to how they left the bench, over the broker or a port.",
    "secure": "Burn keys and switches into a chip, for good.",
    "sim": "Run a simulated board, with its prompt on a pty.",
    "status": "One board on one screen.",
    "update": "Assign releases to boards, in waves; see how far they are.",
    "watch": "The fleet live: alerts first, with lines of heap, signal, delay.",
}


class Deferred(click.RichCommand):
    """Stands for a command in the list of commands; the command itself is imported to be run."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.RichContext:
        command = importlib.import_module(f"fleetling.cli.{self.name}").command
        context: click.RichContext = command.make_context(info_name, args, parent, **extra)
        return context


class Lazy(click.RichGroup):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return Deferred(name=name, short_help=COMMANDS[name]) if name in COMMANDS else None


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(fleetling.__version__, prog_name="fleetling")
def cli() -> None:
    """Device management for MicroPython on ESP32: flash, provision, release, watch."""


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 it could not be done, 2 wrong usage, 130 interrupted."""
    # What Ctrl-C ends in peace, a service's manager does too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Boards may say half of a surrogate pair, or what this locale does not write.
            stream.reconfigure(errors="backslashreplace")
    try:
        with heard_everywhere():
            code = cli.main(standalone_mode=False)
    except click.ClickException as e:
        e.show()
        sys.exit(e.exit_code)
    except (KeyboardInterrupt, click.Abort):
        errors.print("Interrupted; nothing is left running.")
        sys.exit(130)
    except Exception as e:
        error = e if isinstance(e, FleetlingError) else told(e)
        if error is None:
            raise
        errors.print(f"[bold red]Error:[/] {escape(error.message)}", highlight=False)
        if error.hint:
            errors.print(escape(error.hint), highlight=False)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
