# SPDX-License-Identifier: MIT
"""Prints what a fleet says: python examples/listen.py FLEET_FOLDER

Uses the library that the `fleetling` command is made of.
"""

import sys
import time
from pathlib import Path

from fleetling.fleet.operator import Operator
from fleetling.fleet.state import Device
from fleetling.home import find


def heard(device: Device, topic: str) -> None:
    if topic == "online":
        print(f"{device.id}: {'online' if device.online else 'gone'}, boot {device.boot}")
    elif topic == "up/event":
        print(f"{device.id}: {device.events[-1]}")


def main() -> None:
    fleet = find(Path(sys.argv[1]))
    host, _, port = fleet.text("broker").rpartition(":")
    with Operator(
        host,
        int(port),
        ca=fleet.secret("fleet-ca.pem"),
        certificate=fleet.secret("operator.pem"),
        key=fleet.secret("operator.key"),
        on_message=heard,
    ):
        while True:
            time.sleep(1)


if __name__ == "__main__":
    main()
