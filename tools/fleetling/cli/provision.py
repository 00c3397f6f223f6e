# SPDX-License-Identifier: MIT
"""`fleetling provision`."""

from __future__ import annotations

from pathlib import Path

import rich_click as click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fleetling import home
from fleetling.cli.options import authority, home_option
from fleetling.cli.screen import errors, output
from fleetling.errors import FleetlingError
from fleetling.provision import Order, Provisioner, check_orders, read_csv, ready_identity
from fleetling.registry import Store

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("provision")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--csv", "table", type=FILE, help="Boards from a CSV file: id, ssid, password.")
@click.option("--cert", type=FILE, help="A ready certificate (PEM or DER), for one board.")
@click.option("--key", type=FILE, help="Its private key (PEM).")
@click.option("--again", is_flag=True, help="Make new claims for boards that have one.")
@home_option
def command(
    ids: tuple[str, ...],
    table: Path | None,
    cert: Path | None,
    key: Path | None,
    again: bool,
    folder: Path | None,
) -> None:
    """Make what boards leave the bench with: an NVS image with a claim of their own.

    The hub signs for a board that was provisioned once, and no other. Run the same command again
    after an interruption: what is done stays as it is.
    """
    orders = [Order(device_id) for device_id in ids] + (read_csv(table) if table else [])
    if not orders:
        raise FleetlingError("Which boards?", "Give their ids, or a file with --csv.")
    check_orders(orders)
    if (cert is None) != (key is None):
        raise FleetlingError("A ready identity has two parts", "Give both --cert and --key.")
    place = home.find(folder)
    store = Store(place.database)
    if cert is not None and key is not None:
        if len(orders) != 1:
            raise FleetlingError("--cert and --key are for one board", "Give one id.")
        identity = ready_identity(orders[0].device_id, cert, key)
        maker = Provisioner(place, None, store)
        maker.store_ready(orders[0], identity)
        output.print(f"{maker.path(orders[0].device_id)}/nvs.bin", highlight=False)
        _tell_updates(maker, 1)
        return
    maker = Provisioner(place, authority(place, "claim-ca"), store)
    new = _run(maker, orders, again)
    for order in orders if len(orders) <= 10 else []:
        output.print(f"{maker.path(order.device_id)}/nvs.bin", highlight=False)
    output.print(
        f"{new} provisioned, {len(orders) - new} were already. "
        f"The hub expects them: fleetling device list",
        highlight=False,
    )
    _tell_updates(maker, new)


def _tell_updates(maker: Provisioner, new: int) -> None:
    if new and not maker.repository:
        errors.print(
            f"They can take no updates: {home.SETTINGS} names no repository (repo).",
            highlight=False,
        )


def _run(maker: Provisioner, orders: list[Order], again: bool) -> int:
    new = 0
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=len(orders) < 2,
    ) as progress:
        task = progress.add_task("Provisioning", total=len(orders))
        for order, was_new in maker.run(orders, again=again):
            new += was_new
            progress.update(task, advance=1, description=order.device_id)
    return new
