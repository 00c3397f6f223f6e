# SPDX-License-Identifier: MIT
"""The hub's part in settings: it keeps what boards say, and publishes what they need.

A board that is new, runs another version, or comes into a group by what it says, gets its document
from here. On a connection of its own, so that enrolment does not wait for it.

Every hub hears every board, with a subscription that is not shared: a shared one gets no retained
messages by the standard (MQTT 5.0, 4.8.2; mosquitto 2.0.11 sends them all the same), and these
are what a hub knows of boards that spoke while it was down.
Several hubs do the same work then; the database decides which document is the newest
(`fleetling.config.publish`), so doing it twice harms nothing.
"""

from __future__ import annotations

import logging
import queue
import threading
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy.exc import DBAPIError

from fleetling.config.publish import publish
from fleetling.config.store import ConfigStore, checked
from fleetling.errors import FleetlingError
from fleetling.fleet.state import PREFIX
from fleetling.pki import check_device_id
from fleetling.tls import client_context

__all__ = ["SettingsKeeper"]

log = logging.getLogger("fleetling.hub")

TOPICS = {"up/birth": "birth", "up/schema": "schema", "up/reported": "reported"}
LARGEST = 8192
AT_ONCE = 400  # messages in one transaction
SENT_S = 20
RETRY_S = 2

Found = dict[str, dict[str, str]]


class SettingsKeeper:
    """A context manager that works while the context lasts; it reconnects by itself.

    Args:
        store: the settings.
        host, port, ca, certificate, key: the broker and how to get in (PEM files).
        name: the hub's own name.
    """

    def __init__(
        self,
        store: ConfigStore,
        host: str,
        port: int,
        *,
        ca: Path,
        certificate: Path,
        key: Path,
        name: str = "1",
    ) -> None:
        self._store = store
        self._host, self._port = host, port
        self._inbox: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._worker = threading.Thread(target=self._run, name="settings")
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"hub-{name}-settings")
        client.tls_set_context(client_context(ca, certificate, key))
        client.reconnect_delay_set(1, 60)
        client.on_connect = self._connected
        client.on_message = self._received
        self._client = client
        self.malformed = 0
        self.published = 0

    def __enter__(self) -> Self:
        self._client.connect_async(self._host, self._port, keepalive=30)
        self._client.loop_start()
        self._worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._inbox.put(None)
        self._worker.join()
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(
        self, client: mqtt.Client, data: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        if reason.is_failure:
            log.error("the broker does not let the hub's settings in: %s", reason)
            return
        client.subscribe([(f"{PREFIX}+/{topic}", 1) for topic in TOPICS])

    def _received(self, client: mqtt.Client, data: Any, message: mqtt.MQTTMessage) -> None:
        self._inbox.put((message.topic, bytes(message.payload)))

    def _run(self) -> None:
        while not self._stopped.is_set():
            first = self._inbox.get()
            found: Found = {}
            self._take(first, found)
            for _ in range(AT_ONCE):
                try:
                    self._take(self._inbox.get_nowait(), found)
                except queue.Empty:
                    break
            if found:
                self._work(found)

    def _take(self, message: tuple[str, bytes] | None, found: Found) -> None:
        if message is None or not message[1]:
            return  # the end, or a retained message that was cleared
        device_id, _, topic = message[0][len(PREFIX) :].partition("/")
        try:
            check_device_id(device_id)
        except FleetlingError:
            self.malformed += 1
            return
        name = TOPICS[topic]
        text = checked(name, message[1]) if len(message[1]) <= LARGEST else None
        if text is None:
            self.malformed += 1
            log.warning("%s sent a malformed %s", device_id, topic)
            return
        found.setdefault(device_id, {})[name] = text

    def _work(self, found: Found) -> None:
        """Keeps what was said, and publishes; a database that is away is waited for."""
        while not self._stopped.is_set():
            try:
                self._store.learn(found)
                sent = publish(self._store, found, self._send)
            except DBAPIError as e:
                log.error("the database does not answer (%s); trying again", type(e).__name__)
                self._stopped.wait(RETRY_S)
                continue
            except FleetlingError as e:
                # All retained messages come again with the next connection, and then this too.
                log.warning("settings did not go out: %s", e.message)
                return
            except Exception:
                # A bug: whatever it was that one board said, the others get theirs.
                if len(found) == 1:
                    log.exception("settings of %s were left out", *found)
                    return
                for device_id, documents in found.items():
                    self._work({device_id: documents})
                return
            for device_id, version in sent.items():
                self.published += 1
                log.info("published version %d of settings to %s", version, device_id)
            return

    def _send(self, topic: str, payload: bytes) -> None:
        sent = self._client.publish(topic, payload, qos=1, retain=True)
        try:
            sent.wait_for_publish(SENT_S)
        except (RuntimeError, ValueError) as e:
            raise FleetlingError(str(e)) from e
        if not sent.is_published():
            raise FleetlingError("the broker did not take it")
