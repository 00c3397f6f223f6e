# SPDX-License-Identifier: MIT
"""`fleetling broker`."""

from __future__ import annotations

import time
from pathlib import Path

import rich_click as click

from fleetling import home
from fleetling.broker.config import write_mosquitto
from fleetling.broker.fleet import broker_files, write_revoked
from fleetling.broker.process import LocalBroker
from fleetling.cli.options import authority, home_option
from fleetling.cli.screen import errors, output
from fleetling.errors import FleetlingError
from fleetling.registry import Store


@click.group("broker")
def command() -> None:
    """The broker: two doors, certificates on both sides, rules per board."""


@command.command()
@click.option(
    "--user",
    help="The account that mosquitto runs under when it is started as root; else the keys' owner.",
)
@home_option
def config(user: str | None, folder: Path | None) -> None:
    """Write mosquitto's files: listeners, rules, and the list of revoked certificates."""
    place = home.find(folder)
    count = write_revoked(place, authority(place, "fleet-ca"), Store(place.database))
    key = place.secret("broker.key")
    owner = _owner(key)
    path = write_mosquitto(broker_files(place), place.folder / "broker", user=user or owner)
    if user is not None and user != owner:
        errors.print(
            f"Started as root, mosquitto becomes {user}, and has to read {key} and {path.parent}: "
            f"they are {owner or 'another'}'s.",
            highlight=False,
            soft_wrap=True,
        )
    output.print(
        f"{path}\n{count} certificates revoked.\n"
        f"Start it:              mosquitto -c {path}\n"
        f"Read changes again:    kill -HUP its process",
        highlight=False,
        soft_wrap=True,
    )


def _owner(path: Path) -> str | None:
    """The account that owns a file; None where it has no name, in a container."""
    try:
        return path.owner()
    except KeyError:
        return None


@command.command()
@click.option("--kind", type=click.Choice(["mosquitto", "amqtt"]), help="Which broker.")
@home_option
def run(kind: str | None, folder: Path | None) -> None:
    """Run a broker here until Ctrl-C, to try a fleet out."""
    place = home.find(folder)
    write_revoked(place, authority(place, "fleet-ca"), Store(place.database))
    files = broker_files(place)
    with LocalBroker(files, place.folder / "broker", kind=kind or "") as broker:
        output.print(
            f"{broker.kind} serves boards on port {files.port}, claims on {files.claim_port}. "
            "Ctrl-C ends it.",
            highlight=False,
        )
        while broker.running:
            time.sleep(0.5)
        raise FleetlingError(f"{broker.kind} has ended: {broker.last_words}", "Run it again.")


@command.command()
@home_option
def renew(folder: Path | None) -> None:
    """Renew the certificates of the broker, the hub and the operator.

    Their keys stay. Boards renew their own certificates by themselves.
    """
    place = home.find(folder)
    until = home.renew(place, authority(place, "fleet-ca"))
    for name, at in until.items():
        output.print(f"{name:9} until {at:%Y-%m-%d}", highlight=False)
    output.print(
        "Copy secrets/broker.pem and secrets/hub.pem to where they run.\n"
        "Then start the broker and the hub again: they go on with the old ones until then.",
        highlight=False,
        soft_wrap=True,
    )
