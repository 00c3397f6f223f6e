# SPDX-License-Identifier: MIT
"""`fleetling init`."""

from __future__ import annotations

import sys
from pathlib import Path

import rich_click as click

from fleetling import home
from fleetling.cli.options import new_passphrase
from fleetling.cli.screen import output
from fleetling.endpoint import endpoint
from fleetling.errors import FleetlingError

CLAIMS_PORT = 8884


@click.command("init")
@click.argument("name")
@click.option("--broker", required=True, metavar="HOST:PORT", help="Where boards log in.")
@click.option(
    "--claims",
    metavar="HOST:PORT",
    help=f"Where new boards ask for their certificate; else the broker's host, {CLAIMS_PORT}.",
)
@click.option(
    "--wifi",
    multiple=True,
    metavar="SSID[:PASSWORD]",
    help="A network that boards join, the most wanted first. Without a password it is asked for.",
)
@click.option("--ntp", default="pool.ntp.org", show_default=True, help="The boards' time server.")
@click.option("--no-passphrase", is_flag=True, help="Leave the signing keys unencrypted.")
@click.option(
    "--home",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="FLEETLING_HOME",
    default=Path(),
    help="The folder to make it in; else this one. [env: FLEETLING_HOME]",
)
def command(
    name: str,
    broker: str,
    claims: str | None,
    wifi: tuple[str, ...],
    ntp: str,
    no_passphrase: bool,
    folder: Path,
) -> None:
    """Make the fleet NAME: authorities, keys, settings, in a folder of its own.

    The keys that sign (fleet CA, claim CA, the update roles root and targets) are encrypted with a
    passphrase, which is asked for or taken from FLEETLING_PASSPHRASE.
    """
    host, _ = endpoint(broker)
    door = claims or f"{host}:{CLAIMS_PORT}"
    endpoint(door)
    if door == broker:
        raise FleetlingError(
            "Boards and claims cannot come to one door",
            "Give --claims another port: what a claim may do depends on where it comes in.",
        )
    # A name in a certificate has at most 64 bytes (X.520), and " fleet CA" comes after it.
    if not name or len(name) > 40 or len(name.encode(errors="replace")) > 55:
        raise FleetlingError(
            f"{name!r} is no name for a fleet", "Use 1 to 40 characters, and 55 bytes of UTF-8."
        )
    if not name.isprintable():
        raise FleetlingError(f"{name!r} is no name for a fleet", "Use characters that show.")
    if (folder / home.SETTINGS).exists():  # before anything is asked
        raise FleetlingError(
            f"{folder} already holds a fleet", "Nothing was changed. Choose another with --home."
        )
    networks = [_network(text) for text in wifi]
    plan = home.Plan(
        name, broker, door, networks, ntp, None if no_passphrase else new_passphrase()
    )
    made = home.create(folder, plan)
    shown = f"{made.folder}/"
    output.print(f"The fleet {name!r} is in {shown}", highlight=False, markup=False)
    if not networks:
        output.print("Boards have no Wi-Fi yet: write it to secrets/wifi.json.", highlight=False)
    output.print(
        "Keep a copy of secrets/ where no machine reaches it: without it the fleet is lost.\n"
        "Next:\n"
        "  fleetling broker config     the broker's files\n"
        "  fleetling provision ID...   what boards leave the bench with\n"
        "  fleetling hub               signs what they ask for",
        highlight=False,
    )


def _network(text: str) -> tuple[str, str]:
    ssid, found, password = text.partition(":")
    if not 0 < len(ssid.encode()) <= 32:
        raise FleetlingError(f"{ssid!r} is no network's name", "Use 1 to 32 bytes.")
    if not found:
        if not sys.stdin.isatty():
            raise FleetlingError(
                f"The password of {ssid!r} is missing", "Give SSID:PASSWORD; an open one is SSID:"
            )
        password = click.prompt(f"Password of {ssid}", hide_input=True, default="")
    return ssid, password
