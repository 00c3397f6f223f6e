# SPDX-License-Identifier: MIT
"""The hub's connection to the broker: requests in, answers out, nothing lost when it is killed.

A request is acknowledged only after its answer has reached the broker. The session is persistent
and the subscription shared, so requests wait for a hub that is down, and several hubs divide the
work. A hub that is killed between signing and answering is asked again, and gives the same answer.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy.exc import DBAPIError

from fleetling.errors import FleetlingError
from fleetling.fleet.state import PREFIX
from fleetling.hub.enrol import Enroller
from fleetling.tls import client_context

__all__ = ["Hub"]

log = logging.getLogger("fleetling.hub")

REQUESTS = f"{PREFIX}+/up/enrol"
SHARED = f"$share/fleetling-hub/{REQUESTS}"
ANSWER_S = 20
RETRY_S = 2


class Hub:
    """Serves until `end` or `stop`.

    Args:
        enroller: decides and signs.
        host, port, ca, certificate, key: the broker and how to get in (PEM files).
        name: this hub's own name; two hubs with one name would throw each other out.
        shared: divide the work with other hubs, where the broker has shared subscriptions.
    """

    def __init__(
        self,
        enroller: Enroller,
        host: str,
        port: int,
        *,
        ca: Path,
        certificate: Path,
        key: Path,
        name: str = "1",
        shared: bool = True,
    ) -> None:
        self._requests = SHARED if shared else REQUESTS
        self._enroller = enroller
        self._host, self._port = host, port
        self._subscribed = threading.Event()
        self._ending = False
        self._refused = False
        self._inbox: queue.SimpleQueue[mqtt.MQTTMessage | None] = queue.SimpleQueue()
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"hub-{name}",
            clean_session=False,
            manual_ack=True,
        )
        client.tls_set_context(client_context(ca, certificate, key))
        client.reconnect_delay_set(1, 60)
        client.on_connect = self._connected
        client.on_disconnect = self._lost
        client.on_message = self._received
        client.on_subscribe = self._subscription
        self._client = client
        self.answered = 0

    def _connected(
        self, client: mqtt.Client, data: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        if reason.is_failure:
            log.error("the broker does not let the hub in: %s", reason)
            return
        client.subscribe(self._requests, qos=1)
        log.info("on the broker at %s:%d", self._host, self._port)

    def _lost(
        self, client: mqtt.Client, data: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        if not self._ending:
            where = f"{self._host}:{self._port}"
            log.warning("the broker at %s is away (%s); trying again", where, reason)

    def _subscription(
        self, client: mqtt.Client, data: Any, number: int, reasons: list[Any], properties: Any
    ) -> None:
        self._refused = any(reason.is_failure for reason in reasons)
        self._subscribed.set()

    def _received(self, client: mqtt.Client, data: Any, message: mqtt.MQTTMessage) -> None:
        # The network thread only passes it on: signing waits for the database.
        self._inbox.put(message)

    def start(self) -> None:
        """Connects; requests wait for this hub once it returns.

        Raises:
            FleetlingError: no broker answers, or it does not let the hub in.
        """
        try:
            self._client.connect(self._host, self._port, keepalive=30)
        except OSError as e:
            raise FleetlingError(
                f"No broker answers at {self._host}:{self._port}: {e}",
                "Is it running, and does its certificate name this host?",
            ) from e
        self._client.loop_start()
        if not self._subscribed.wait(ANSWER_S) or self._refused:
            self._client.loop_stop()
            raise FleetlingError(
                f"The broker at {self._host}:{self._port} does not let the hub in",
                "Is it this fleet's, with the rules of `fleetling broker config`?",
            )

    def run(self, on_answer: Callable[[str], None] | None = None) -> None:
        """Answers requests until `end` is called; `on_answer` hears each sender's name."""
        while (message := self._inbox.get()) is not None:
            name = message.topic[len(PREFIX) :].partition("/")[0]
            try:
                answer = self._answer(name, bytes(message.payload))
            except Exception:
                # A bug. It is acknowledged, or it would meet the next hub; the board asks again.
                log.exception("the request of %s was left out", name)
                self._client.ack(message.mid, message.qos)
                continue
            if answer is None:
                return  # stopped; it is not acknowledged, so the next hub gets it
            sent = self._client.publish(f"{PREFIX}{name}/down/enrol", answer, qos=1)
            try:
                sent.wait_for_publish(ANSWER_S)
            except (RuntimeError, ValueError) as e:
                log.warning("answer to %s did not go out (%s); it will be asked again", name, e)
                continue
            if not sent.is_published():
                log.warning("answer to %s did not go out; it will be asked again", name)
                continue
            self._client.ack(message.mid, message.qos)
            self.answered += 1
            if on_answer is not None:
                on_answer(name)

    def _answer(self, name: str, payload: bytes) -> bytes | None:
        """The answer; a database that is away is waited for, None when the hub is stopped."""
        while not self._ending:
            try:
                return self._enroller.answer(name, payload)
            except DBAPIError as e:
                log.error("the database does not answer (%s); trying again", type(e).__name__)
                time.sleep(RETRY_S)
        return None

    def end(self) -> None:
        """Ends `run` after the request that it is at. Takes no lock: a signal's handler, which
        runs in between whatever `run` does, may call it."""
        self._ending = True
        self._inbox.put(None)

    def stop(self) -> None:
        """Ends `run`, and the connection."""
        self.end()
        self._client.disconnect()
        self._client.loop_stop()
