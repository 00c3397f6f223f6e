# SPDX-License-Identifier: MIT
"""`fleetling flash --csv`: a line for every board, a bar for every port."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from fleetling.cli.options import authority
from fleetling.cli.screen import errors, output
from fleetling.errors import FleetlingError
from fleetling.flashing import labels
from fleetling.flashing.batch import Batch, Connect, News
from fleetling.flashing.bench import Bench
from fleetling.home import Home
from fleetling.provision import Order, Provisioner, check_orders, read_csv
from fleetling.registry import Store

__all__ = ["run"]

WORDS = {
    "done": "done, verified",
    "already": "was done already",
    "refused": "refused",
    "lost": "lost, tried again",
}


class _Screen:
    """Shows the news of all ports; called from their threads."""

    def __init__(self, shown: Progress, ports: Sequence[str]) -> None:
        self._shown = shown
        self._lock = threading.Lock()
        self._waited: set[str] = set()
        self._tasks: dict[str, TaskID] = {
            port: shown.add_task(f"{port}: waits for a board", total=None) for port in ports
        }

    def tell(self, news: News) -> None:
        with self._lock:
            task = self._tasks[news.port]
            if news.kind == "waiting":
                if news.port not in self._waited:
                    self._waited.add(news.port)
                    errors.print(f"No board yet. {news.text}", highlight=False, soft_wrap=True)
                return
            if news.kind in ("start", "progress"):
                words = f"{news.port}: {news.device_id} {news.text}"
                self._shown.update(task, description=words, completed=news.done, total=news.total)
                return
            self._shown.reset(task, total=None, description=f"{news.port}: waits for a board")
            line = f"{news.device_id or '-':24} {news.mac}  {news.port}  {WORDS[news.kind]}"
            if news.text:
                line += f": {news.text}"
            output.print(line, highlight=False, markup=False, soft_wrap=True)


def run(
    bench: Bench,
    place: Home,
    table: Path,
    ports: Sequence[str],
    connect: Connect,
    *,
    after: str,
    out: Path | None,
    label_text: str,
    pause_s: float,
    patience_s: float,
) -> None:
    """Flashes the boards of a CSV file, which are provisioned where they are not.

    Raises:
        FleetlingError: not all of them are done.
    """
    if len(set(ports)) < len(ports):
        raise FleetlingError("A port is named twice", "Name every port once.")
    orders = read_csv(table)
    check_orders(orders)
    _provision(place, orders)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    ) as shown:
        batch = Batch(
            bench,
            [order.device_id for order in orders],
            connect,
            _Screen(shown, ports).tell,
            after=after,
            pause_s=pause_s,
            patience_s=patience_s,
        )
        try:
            batch.run(ports)
        except KeyboardInterrupt:
            with suppress(FleetlingError):
                _labels(batch, out, label_text)
            if batch.missing():
                errors.print(_missing(batch, batch.missing()), highlight=False, soft_wrap=True)
                errors.print("Run the same command again to go on.", highlight=False)
            raise
    _labels(batch, out, label_text)
    missing = batch.missing()
    output.print(f"{len(orders) - len(missing)} of {len(orders)} are done.", highlight=False)
    if out is not None:
        output.print(f"{out} has their labels.", highlight=False)
    if missing:
        raise FleetlingError(_missing(batch, missing), "Run the same command again to go on.")


def _labels(batch: Batch, out: Path | None, label_text: str) -> None:
    if out is not None:
        labels.write_labels(out, batch.entries(), label_text)


def _missing(batch: Batch, missing: list[str]) -> str:
    begun = [entry for entry in batch.entries() if not entry.flashed]
    text = f"{len(missing)} of {len(batch.ids)} boards are not done"
    if begun:
        named = ", ".join(f"{entry.device_id} ({entry.mac})" for entry in begun[:8])
        text += f"; begun, and waiting for their boards: {named}"
    return text


def _provision(place: Home, orders: list[Order]) -> None:
    """Makes the identities that are not there yet; for those alone a passphrase is asked for."""
    store = Store(place.database)
    maker = Provisioner(place, None, store)
    new = [order for order in orders if not maker.done(order.device_id)]
    if not new:
        return
    maker = Provisioner(place, authority(place, "claim-ca"), store)
    made = sum(was_new for _, was_new in maker.run(new))
    errors.print(f"{made} provisioned.", highlight=False)
