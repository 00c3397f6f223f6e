# SPDX-License-Identifier: MIT
"""Where a command works on settings: the fleet's database, and the broker when it answers."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterable
from typing import Self

from fleetling.config.change import Edit, Plan, plan
from fleetling.config.layers import Scope
from fleetling.config.publish import publish
from fleetling.config.reconcile import State
from fleetling.config.store import ConfigStore, Conflict, checked
from fleetling.errors import FleetlingError
from fleetling.fleet.operator import Operator
from fleetling.fleet.state import Device
from fleetling.home import Home
from fleetling.registry import Store

__all__ = ["Desk"]

TOPICS = ("online", "up/birth", "up/schema", "up/reported", "up/reply")
ATTEMPTS = 20


class Desk:
    """A context manager; it connects on entry.

    Args:
        home: the fleet.
        device_ids: whom to ask the broker about; empty for all.
        offline: go on without a broker, with what the database knows (`away` says why).
    """

    def __init__(
        self, home: Home, device_ids: Iterable[str] = (), *, offline: bool = False
    ) -> None:
        self.home = home
        self.hub = Store(home.database)
        self.store = ConfigStore(self.hub)
        self.away = ""
        self._offline = offline
        names = sorted(set(device_ids)) or ["+"]
        host, port = home.endpoint("broker")
        self._operator = Operator(
            host,
            port,
            ca=home.secret("fleet-ca.pem"),
            certificate=home.secret("operator.pem"),
            key=home.secret("operator.key"),
            topics=[f"{name}/{topic}" for name in names for topic in TOPICS],
        )

    def __enter__(self) -> Self:
        try:
            self._operator.__enter__()
        except FleetlingError as e:
            if not self._offline:
                raise FleetlingError(e.message, f"Nothing was changed. {e.hint}") from e
            self.away = e.message
            return self
        try:
            self._operator.settle()
        except FleetlingError:
            self.__exit__()
            raise
        self._learn()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.away:
            self._operator.__exit__(None, None, None)

    @property
    def operator(self) -> Operator:
        return self._operator

    def heard(self, device_id: str) -> Device:
        """What the broker has of a device."""
        return self._operator.state.devices.get(device_id) or Device(device_id)

    def _learn(self) -> None:
        found: dict[str, dict[str, str]] = {}
        for device in list(self._operator.state.devices.values()):
            documents = {
                "birth": device.birth,
                "schema": device.schema,
                "reported": device.reported,
            }
            texts = {
                name: checked(name, json.dumps(document).encode())
                for name, document in documents.items()
                if document
            }
            kept = {name: text for name, text in texts.items() if text is not None}
            if kept:
                found[device.id] = kept
        self.store.learn(found)

    def state(self) -> State:
        return self.store.state()

    def plan(self, scopes: Iterable[Scope], edit: Edit) -> Plan:
        scopes = list(scopes)
        named = {scope.name for scope in scopes if scope.kind == "device"}
        return plan(self.state(), scopes, self.store.concerned() | named, edit)

    def put_in_force(self, first: Plan, scopes: Iterable[Scope], edit: Edit, note: str) -> Plan:
        """Stores a planned change; made anew upon what somebody else has stored meanwhile.

        Raises:
            FleetlingError: it has become impossible; nothing was stored.
        """
        planned = first
        for _ in range(ATTEMPTS):
            if planned.wrong:
                raise FleetlingError("Somebody has changed the settings meanwhile", "Try again.")
            try:
                self.store.change(planned.layers, by=user(), note=note)
            except Conflict:
                planned = self.plan(scopes, edit)
                continue
            return planned
        raise FleetlingError("Others change these settings all the time", "Try again.")

    def publish(self, device_ids: Iterable[str]) -> dict[str, int]:
        """Sends what is due to these devices: {id: version}."""
        return publish(
            self.store,
            device_ids,
            lambda topic, payload: self._operator.deliver(topic, payload, retain=True),
        )


def user() -> str:
    """Who is at the keyboard, for the history."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
