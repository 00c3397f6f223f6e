# SPDX-License-Identifier: MIT
"""`fleetling device`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import rich_click as click
from rich.table import Table

from fleetling import home
from fleetling.broker.fleet import write_revoked
from fleetling.cli.options import authority, home_option
from fleetling.cli.screen import output
from fleetling.config.desk import Desk
from fleetling.config.shown import devices as counted
from fleetling.config.store import ConfigStore, must_know
from fleetling.errors import FleetlingError
from fleetling.registry import Device, Store

TAG = re.compile(r"[A-Za-z0-9._-]{1,64}")
JSON = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group("device")
def command() -> None:
    """The devices that the hub knows."""


def _described(device: Device) -> dict[str, Any]:
    current = device.current
    return {
        "id": device.id,
        "status": device.status,
        "enrolments_left": device.enrolments_left,
        "certificates": [
            {
                "serial": row.serial,
                "signed": f"{row.signed_at:%Y-%m-%dT%H:%M:%SZ}",
                "until": f"{row.not_after:%Y-%m-%dT%H:%M:%SZ}",
                "revoked": row.revoked_at is not None,
                "in_force": current is row,
            }
            for row in device.certificates
        ],
    }


@command.command("list")
@JSON
@home_option
def list_(as_json: bool, folder: Path | None) -> None:
    """All devices, and whether they have come."""
    devices = Store(home.find(folder).database).devices()
    if as_json:
        output.print_json(json.dumps([_described(device) for device in devices]))
        return
    if not devices:
        output.print("No devices yet: fleetling provision ID...", highlight=False)
        return
    table = Table("id", "status", "certificate until", box=None)
    for device in devices:
        current = device.current
        table.add_row(device.id, device.status, f"{current.not_after:%Y-%m-%d}" if current else "")
    output.print(table)


@command.command()
@click.argument("device_id", metavar="ID")
@JSON
@home_option
def show(device_id: str, as_json: bool, folder: Path | None) -> None:
    """One device with its certificates."""
    described = _described(Store(home.find(folder).database).device(device_id))
    if as_json:
        output.print_json(json.dumps(described))
        return
    output.print(f"{described['id']}  {described['status']}", highlight=False)
    for row in described["certificates"]:
        state = "revoked" if row["revoked"] else "in force" if row["in_force"] else "replaced"
        output.print(
            f"  {row['serial']}  {row['signed']} to {row['until']}  {state}", highlight=False
        )
    if described["enrolments_left"]:
        output.print("  It may ask for a certificate once.", highlight=False)


@command.command()
@click.argument("device_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@home_option
def revoke(device_id: str, yes: bool, folder: Path | None) -> None:
    """Turn a device away for good: a lost board, a stolen key."""
    place = home.find(folder)
    store = Store(place.database)
    store.device(device_id)
    if not yes:
        click.confirm(f"Revoke {device_id} and its certificates?", abort=True)
    signer = authority(place, "fleet-ca")
    count = store.revoke(device_id)
    write_revoked(place, signer, store)
    output.print(
        f"{device_id} is revoked, with {count} certificates.\n"
        "The broker turns it away once it has read broker/revoked.pem again: "
        "kill -HUP mosquitto's process.\n"
        "A connection that is open stays until it ends.",
        highlight=False,
        soft_wrap=True,
    )


@command.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--add", multiple=True, metavar="TAG", help="A tag that they get.")
@click.option("--remove", multiple=True, metavar="TAG", help="A tag that they lose.")
@JSON
@home_option
def tag(
    ids: tuple[str, ...],
    add: tuple[str, ...],
    remove: tuple[str, ...],
    as_json: bool,
    folder: Path | None,
) -> None:
    """Tag devices, for the rules of groups; without options, show their tags.

    Settings of groups that they come into or leave are published at once.
    """
    for name in add:
        if not TAG.fullmatch(name):
            raise FleetlingError(f"{name!r} is no tag", "Use 1 to 64 of a-z, A-Z, 0-9, . _ -")
    place = home.find(folder)
    if not (add or remove):
        store = ConfigStore(Store(place.database))
        must_know(store.known(), ids)
        state = store.state()
        found = {name: sorted(state.of(name).tags) for name in ids}
        _print_tags(found, as_json)
        return
    with Desk(place, ids) as desk:
        must_know(desk.store.known(), ids)
        found = {name: desk.store.tag(name, add, remove) for name in ids}
        sent = desk.publish(ids)
    _print_tags(found, as_json)
    if sent and not as_json:
        output.print(f"Published to {counted(len(sent))}.", highlight=False)


def _print_tags(found: dict[str, list[str]], as_json: bool) -> None:
    if as_json:
        output.print_json(json.dumps(found))
        return
    for name, tags in found.items():
        output.print(f"{name}: {', '.join(tags) or 'no tags'}", highlight=False, markup=False)


@command.command("allow-enrol")
@click.argument("device_id", metavar="ID")
@home_option
def allow_enrol(device_id: str, folder: Path | None) -> None:
    """Let a device ask for a certificate once more: a new board under an old id, a reset one."""
    Store(home.find(folder).database).allow_again(device_id)
    output.print(
        f"{device_id} may enrol once more, with a new key. Certificates that it has stay good: "
        f"if the old board is lost, revoke first.",
        highlight=False,
    )
