# SPDX-License-Identifier: MIT
"""The hub's part in health: it keeps heartbeats, events and crashes, and a picture of the fleet.

On a connection of its own, so that enrolment does not wait for it. Events and crashes are
acknowledged once they are stored, and the session is persistent: what boards say while no hub is
up waits at the broker. Heartbeats are not worth that: where there are more than can be stored, the
newest are dropped, and counted. Several hubs each hear everything; the database keeps it once.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy.exc import DBAPIError

from fleetling.errors import FleetlingError
from fleetling.fleet.state import PREFIX, FleetState
from fleetling.hub.records import KINDS, Message, Records
from fleetling.pki import check_device_id
from fleetling.tls import client_context

__all__ = ["HealthKeeper"]

log = logging.getLogger("fleetling.hub")

TOPICS = ("online", "up/birth", "up/reported", "up/health", "up/event", "up/crash", "up/update")
LARGEST = 8192
WAITING = 20_000  # messages that may wait for the database
AT_ONCE = 500
RETRY_S = 2


class HealthKeeper:
    """A context manager that works while the context lasts; it reconnects by itself.

    Args:
        records: where it is kept.
        host, port, ca, certificate, key: the broker and how to get in (PEM files).
        name: the hub's own name.

    Attributes:
        state: the fleet as it has last spoken; hold `lock` to look at it.
        stored, dropped, malformed: messages.
    """

    def __init__(
        self,
        records: Records,
        host: str,
        port: int,
        *,
        ca: Path,
        certificate: Path,
        key: Path,
        name: str = "1",
    ) -> None:
        self._records = records
        self._host, self._port = host, port
        self._inbox: queue.SimpleQueue[tuple[mqtt.MQTTMessage, Message] | None]
        self._inbox = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._worker = threading.Thread(target=self._run, name="health")
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"hub-{name}-health",
            clean_session=False,
            manual_ack=True,
        )
        client.tls_set_context(client_context(ca, certificate, key))
        client.reconnect_delay_set(1, 60)
        client.on_connect = self._connected
        client.on_message = self._received
        client.on_subscribe = self._subscribed
        self._client = client
        self.lock = threading.Lock()
        self.state = FleetState()
        self.listening = threading.Event()  # from then on nothing is missed
        self.stored = self.dropped = self.malformed = 0

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
            log.error("the broker does not let the hub's health in: %s", reason)
            return
        client.subscribe([(f"{PREFIX}+/{topic}", 1) for topic in TOPICS])

    def _subscribed(
        self, client: mqtt.Client, data: Any, number: int, reasons: list[Any], properties: Any
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            log.error("the broker does not let the hub hear of the boards' health")
            return
        self.listening.set()

    def _received(self, client: mqtt.Client, data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            found = self._take(message)
        except Exception:  # a bug: it would end the network's thread, and come again
            log.exception("%s was left out", message.topic)
            self.malformed += 1
            found = None
        if found is not None and (found.kind != "health" or self._inbox.qsize() < WAITING):
            self._inbox.put((message, found))
            return
        self.dropped += found is not None
        client.ack(message.mid, message.qos)

    def _take(self, message: mqtt.MQTTMessage) -> Message | None:
        """The message as what is to be kept; None when there is nothing to keep."""
        now = time.time()
        device_id, _, topic = message.topic[len(PREFIX) :].partition("/")
        if not message.payload or message.topic.startswith(f"{PREFIX}claim-"):
            return None
        try:
            check_device_id(device_id)
        except FleetlingError:
            self.malformed += 1
            return None
        if len(message.payload) > LARGEST:
            self.malformed += 1
            return None
        with self.lock:
            before = self.state.malformed
            device = self.state.apply(message.topic, bytes(message.payload), now)
            self.malformed += self.state.malformed - before
            if device is None or topic not in KINDS:
                return None
            kind = KINDS[topic]
            documents = {"health": device.health, "crash": device.crash}
            document = documents[kind] if kind != "event" else device.events[-1]
        return Message(device_id, kind, now, document)

    def _run(self) -> None:
        while not self._stopped.is_set():
            batch = [self._inbox.get()]
            for _ in range(AT_ONCE):
                try:
                    batch.append(self._inbox.get_nowait())
                except queue.Empty:
                    break
            self._keep([entry for entry in batch if entry is not None])

    def _keep(self, batch: list[tuple[mqtt.MQTTMessage, Message]]) -> None:
        """Stores, then acknowledges; a database that is away is waited for."""
        while batch and not self._stopped.is_set():
            try:
                self.stored += self._records.add([found for _, found in batch])
            except DBAPIError as e:
                log.error("the database does not answer (%s); trying again", type(e).__name__)
                self._stopped.wait(RETRY_S)
                continue
            except Exception:
                # A bug: whatever it was that one board said, the others' is kept.
                if len(batch) > 1:
                    for entry in batch:
                        self._keep([entry])
                    return
                log.exception("%s of %s was left out", batch[0][1].kind, batch[0][1].device_id)
                self.dropped += 1
            for message, _ in batch:
                self._client.ack(message.mid, message.qos)
            return
