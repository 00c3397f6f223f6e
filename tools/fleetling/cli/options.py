# SPDX-License-Identifier: MIT
"""What several commands ask in the same way."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from fleetling.errors import FleetlingError
from fleetling.home import Home
from fleetling.pki import Authority
from fleetling.port import ports

__all__ = [
    "PASSPHRASE",
    "authority",
    "chosen_port",
    "home_option",
    "new_passphrase",
    "port_option",
]

PASSPHRASE = "FLEETLING_PASSPHRASE"  # noqa: S105 - a variable's name
LEAST = 8

F = TypeVar("F", bound=Callable[..., Any])


def home_option(function: F) -> F:
    """`--home`, the fleet's folder; None is the current one or the nearest above."""
    option = click.option(
        "--home",
        "folder",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="FLEETLING_HOME",
        help="The fleet's folder; else this one or the nearest above. [env: FLEETLING_HOME]",
    )
    return option(function)


def port_option(function: F) -> F:
    """`-p/--port` as `port`, None where it is not given; `chosen_port` makes a port of it."""
    option = click.option(
        "-p",
        "--port",
        metavar="PORT",
        help="The board's serial port, or rfc2217:// or socket://; else the only likely one. "
        "[env: FLEETLING_PORT, ESPTOOL_PORT]",
    )
    return option(function)


def chosen_port(given: str | None) -> str:
    """The port that is meant; on a terminal a person is asked which of several.

    Raises:
        FleetlingError: none is named, and none or several are likely.
    """
    asks = sys.stdin.isatty() and sys.stderr.isatty()
    return ports.choose(given, _picked if asks else None)


def _picked(likely: list[ports.Port]) -> str:
    for number, port in enumerate(likely, 1):
        click.echo(f"{number:3d}  {port.device}  {port.description}  ({port.chip})", err=True)
    chosen = click.prompt("Which port", type=click.IntRange(1, len(likely)), default=1, err=True)
    return likely[chosen - 1].device


def new_passphrase() -> bytes:
    """A passphrase from the environment, or typed twice.

    Raises:
        FleetlingError: there is nobody to ask, or it is too short.
    """
    given = os.environ.get(PASSPHRASE)
    if given is None:
        if not sys.stdin.isatty():
            raise FleetlingError(
                "A passphrase for the fleet's signing keys is needed, and nobody is there to ask",
                f"Set {PASSPHRASE}, or leave the keys open with --no-passphrase.",
            )
        given = click.prompt(
            "Passphrase for the signing keys", hide_input=True, confirmation_prompt=True
        )
    if len(given) < LEAST:
        raise FleetlingError(
            f"The passphrase has {len(given)} characters", f"Use {LEAST} at least."
        )
    return str(given).encode()


def authority(home: Home, name: str) -> Authority:
    """An authority of the fleet with its key, the passphrase asked for where it needs one."""
    if not home.encrypted(name):
        return home.authority(name, None)
    return home.authority(name, ask_passphrase(f"{name}.key"))


def ask_passphrase(key: str) -> bytes:
    """The passphrase of the key in the file of that name: FLEETLING_PASSPHRASE, or asked for."""
    given = os.environ.get(PASSPHRASE)
    if given is None:
        if not sys.stdin.isatty():
            raise FleetlingError(
                f"The key {key} has a passphrase, and nobody is there to ask",
                f"Set {PASSPHRASE}.",
            )
        given = click.prompt(f"Passphrase for {key}", hide_input=True)
    return str(given).encode()
