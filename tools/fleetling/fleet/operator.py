# SPDX-License-Identifier: MIT
"""The operator's connection to the broker: watches the fleet, sends commands, waits for
answers."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from fleetling.errors import FleetlingError
from fleetling.fleet.state import PREFIX, Device, FleetState
from fleetling.tls import client_context

__all__ = ["Operator"]

# Below PREFIX: all that devices say.
EVERYTHING = ("+/online", "+/up/#")

OnMessage = Callable[[Device, str], None]


class Operator:
    """Watches all devices; a context manager that connects on entry.

    Args:
        host, port: the broker.
        ca, certificate, key: PEM files; the certificate's CN must be one that the broker's rules
            let see the fleet.
        on_message: called with the device and the topic below its own, for each change. What it
            raises ends the next or current `wait`: it runs in the network's thread.
        topics: what to hear, as filters below the prefix of all topics.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ca: Path,
        certificate: Path,
        key: Path,
        on_message: OnMessage | None = None,
        topics: Sequence[str] = EVERYTHING,
    ) -> None:
        self._topics = topics
        name = f"operator-{secrets.token_hex(4)}"
        # Nobody else hears it: operators and hubs listen to what goes up.
        self._marker = f"{PREFIX}{name}/down/marker"
        self._marked = threading.Event()
        self.state = FleetState()
        self._host, self._port = host, port
        self._on_message = on_message
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._refused = ""
        self._failed: BaseException | None = None
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name)
        client.tls_set_context(client_context(ca, certificate, key))
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_message = self._received
        self._client = client

    def __enter__(self) -> Self:
        try:
            self._client.connect(self._host, self._port, keepalive=30)
        except OSError as e:
            raise FleetlingError(
                f"No broker answers at {self._host}:{self._port}: {e}",
                "Is it running, and does its certificate name this host?",
            ) from e
        self._client.loop_start()
        if not self._ready.wait(15):
            self._client.loop_stop()
            raise FleetlingError(
                f"The broker at {self._host}:{self._port} does not let the operator in"
                + (f": {self._refused}" if self._refused else ""),
                "Check that its rules know this certificate's name.",
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(
        self, client: mqtt.Client, data: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        if reason.is_failure:
            self._refused = str(reason)
            return
        wanted = [*(f"{PREFIX}{topic}" for topic in self._topics), self._marker]
        client.subscribe([(topic, 1) for topic in wanted])

    def _subscribed(
        self, client: mqtt.Client, data: Any, mid: int, reasons: list[Any], properties: Any
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            self._refused = "it may not watch the devices' topics"
            return
        self._ready.set()

    def _received(self, client: mqtt.Client, data: Any, message: mqtt.MQTTMessage) -> None:
        if message.topic == self._marker:
            self._marked.set()
            return
        with self._changed:
            device = self.state.apply(message.topic, bytes(message.payload), time.time())
            self._changed.notify_all()
        if device is None or self._on_message is None or self._failed is not None:
            return
        try:
            self._on_message(device, message.topic[len(PREFIX) + len(device.id) + 1 :])
        except BaseException as e:  # noqa: BLE001 - a pipe that was closed, and whatever else
            with self._changed:
                self._failed = e
                self._changed.notify_all()

    def wait(self, holds: Callable[[FleetState], bool], timeout_s: float) -> bool:
        """Waits until `holds(state)`, for at most `timeout_s` seconds; whether it came to hold."""
        with self._changed:
            held = self._changed.wait_for(
                lambda: self._failed is not None or holds(self.state), timeout_s
            )
            if self._failed is not None:
                raise self._failed
            return held

    def settle(self, timeout_s: float = 15) -> None:
        """Waits until all retained messages are in.

        The broker queues them when it takes the subscription, so a message that is sent
        afterwards comes after them.

        Raises:
            FleetlingError: the broker does not deliver.
        """
        self._marked.clear()
        self.publish(self._marker, b"{}")
        if not self._marked.wait(timeout_s):
            raise FleetlingError(
                f"The broker at {self._host}:{self._port} has stopped to answer", "Try again."
            )

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Sends a message with QoS 1."""
        self._client.publish(topic, payload, qos=1, retain=retain)

    def deliver(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Sends a message with QoS 1; the broker has it when this returns.

        Raises:
            FleetlingError: it did not get there.
        """
        sent = self._client.publish(topic, payload, qos=1, retain=retain)
        try:
            sent.wait_for_publish(15)
        except (RuntimeError, ValueError) as e:
            raise FleetlingError(f"The broker did not take a message: {e}", "Try again.") from e
        if not sent.is_published():
            raise FleetlingError("The broker did not take a message", "Try again.")

    def command(
        self,
        device_id: str,
        name: str,
        args: dict[str, Any] | None = None,
        *,
        timeout_s: float = 15,
    ) -> dict[str, Any]:
        """Sends a command and waits for its reply.

        Raises:
            FleetlingError: no reply came in time.
        """
        command_id = secrets.token_hex(8)
        message = {
            "id": command_id,
            "name": name,
            "args": args or {},
            "expires": int(time.time() + timeout_s),
        }
        self.publish(f"{PREFIX}{device_id}/down/command", json.dumps(message).encode())

        def answered(state: FleetState) -> bool:
            device = state.devices.get(device_id)
            return device is not None and command_id in device.replies

        if not self.wait(answered, timeout_s):
            raise FleetlingError(
                f"{device_id} did not answer {name!r} within {timeout_s:.0f} s",
                "Is it online? A board that is away does not get commands; try again later.",
            )
        return self.state.devices[device_id].replies[command_id]
