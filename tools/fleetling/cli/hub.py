# SPDX-License-Identifier: MIT
"""`fleetling hub`."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import rich_click as click

from fleetling import home
from fleetling.cli.options import authority, home_option
from fleetling.cli.screen import output
from fleetling.config.store import ConfigStore
from fleetling.endpoint import endpoint
from fleetling.hub import metrics
from fleetling.hub.enrol import Enroller
from fleetling.hub.health import HealthKeeper
from fleetling.hub.records import Records
from fleetling.hub.service import Hub
from fleetling.hub.settings import SettingsKeeper
from fleetling.registry import Store


@click.command("hub")
@click.option("--database", help="SQLAlchemy URL; else that of fleetling.toml.")
@click.option("--broker", metavar="HOST:PORT", help="Else that of fleetling.toml.")
@click.option("--name", default="1", show_default=True, help="Hubs that share the work differ.")
@click.option(
    "--alone", is_flag=True, help="The only hub, on a broker without shared subscriptions."
)
@click.option(
    "--metrics", "address", metavar="[HOST:]PORT", help="Serve /metrics for Prometheus there."
)
@home_option
def command(
    database: str | None,
    broker: str | None,
    name: str,
    alone: bool,
    address: str | None,
    folder: Path | None,
) -> None:
    """Serve the fleet until Ctrl-C: sign the certificates that its boards ask for, publish
    settings to boards that are new, changed, or come into a group, keep what they say of
    themselves.

    It keeps no state but the database: stop it, kill it, start several; no request is lost, and
    none is signed twice.
    """
    place = home.find(folder)
    signer = authority(place, "fleet-ca")
    days = place.days("device")
    host, port = endpoint(broker) if broker is not None else place.endpoint("broker")
    store = Store(database or place.database)
    identity = {
        "ca": place.secret("fleet-ca.pem"),
        "certificate": place.secret("hub.pem"),
        "key": place.secret("hub.key"),
    }
    enroller = Enroller(store, lambda csr: signer.sign_request(csr, days))
    hub = Hub(enroller, host, port, **identity, name=name, shared=not alone)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: hub.end())
    settings = SettingsKeeper(ConfigStore(store), host, port, **identity, name=name)
    health = HealthKeeper(Records(store), host, port, **identity, name=name)
    server = metrics.serve(health, address) if address is not None else None
    hub.start()
    try:
        with settings, health:
            hub.run()
    finally:
        hub.stop()
        if server is not None:
            server.shutdown()
    output.print(f"Stopped; {hub.answered} requests answered.", highlight=False)
