# SPDX-License-Identifier: MIT
"""The fleet's figures for Prometheus, as its text format has them: `/metrics` over HTTP.

Names and units follow Prometheus's conventions: base units, `_total` for what only grows. A device
is a label; what else comes from boards and could be of any number is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fleetling.errors import FleetlingError
from fleetling.health.picture import figure, number, open_alerts
from fleetling.hub.health import HealthKeeper
from fleetling.update.standing import RESCUE, STATES, Report

__all__ = ["FleetCollector", "serve"]

# name -> (figure of a heartbeat, what it is)
FIGURES = {
    "heap_free_bytes": ("heap", "Python heap that is free after a collection."),
    "heap_largest_block_bytes": ("block", "Largest free block of the system heap."),
    "storage_free_bytes": ("storage", "File system that is free."),
    "wifi_signal_dbm": ("rssi", "Wi-Fi signal in dBm."),
    "temperature_celsius": ("temperature_c", "Temperature of the chip."),
}


class FleetCollector(Collector):
    """Reads what a `HealthKeeper` knows, when it is asked."""

    def __init__(self, keeper: HealthKeeper) -> None:
        self._keeper = keeper

    def collect(self) -> Iterator[Metric]:
        with self._keeper.lock:
            yield from list(self._devices())
        hub = self._keeper
        for name, value, text in (
            ("stored", hub.stored, "Messages of boards that were stored."),
            ("dropped", hub.dropped, "Heartbeats that came faster than they could be stored."),
            ("malformed", hub.malformed, "Messages that made no sense."),
        ):
            metric = CounterMetricFamily(f"fleetling_hub_messages_{name}", text)
            metric.add_metric([], value)
            yield metric

    def _devices(self) -> Iterator[Metric]:
        devices = self._keeper.state.devices

        def gauge(name: str, text: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"fleetling_device_{name}", text, labels=["device"])

        online = gauge("online", "Whether the device is on the broker.")
        safe = gauge("safe_mode", "Whether the application is not started after bad boots.")
        alerts = gauge("alerts", "Alerts that are open.")
        uptime = gauge("uptime_seconds", "Since the device has started.")
        seen = gauge("last_seen_timestamp_seconds", "When the device last said anything.")
        boots = CounterMetricFamily("fleetling_device_boots", "Starts.", labels=["device"])
        lag = gauge("loop_delay_seconds", "Worst delay of the event loop in a heartbeat.")
        figures = {name: gauge(name, text) for name, (_, text) in FIGURES.items()}
        for device in devices.values():
            label = [device.id]
            online.add_metric(label, int(device.online))
            safe.add_metric(label, int(device.birth.get("mode") == "safe"))
            alerts.add_metric(label, len(open_alerts(device.events)))
            seen.add_metric(label, device.last_seen)
            up, boot = number(device.health.get("up")), number(device.boot)
            if up is not None:
                uptime.add_metric(label, up)
            if boot is not None:
                boots.add_metric(label, boot)
            late = figure(device.health, "lag_ms", 2)
            if late is not None:
                lag.add_metric(label, late / 1000)
            for name, (short, _) in FIGURES.items():
                value = figure(device.health, short)
                if value is not None:
                    figures[name].add_metric(label, value)
        updates = GaugeMetricFamily(
            "fleetling_devices", "Devices by the state of their update.", labels=["update"]
        )
        states = Counter(Report.read(device.update).state for device in devices.values())
        for state in (*STATES, RESCUE):
            updates.add_metric([state], states[state])
        yield from (online, safe, alerts, uptime, seen, boots, lag, *figures.values(), updates)


def serve(keeper: HealthKeeper, address: str) -> WSGIServer:
    """Serves `/metrics` at "[HOST:]PORT", on this machine alone without a host.

    Raises:
        FleetlingError: the address is none, or taken.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise FleetlingError(f"{address!r} is no address", "Give PORT or HOST:PORT.")
    registry = CollectorRegistry()
    registry.register(FleetCollector(keeper))
    try:
        server, _ = start_http_server(int(port), host or "127.0.0.1", registry)
    except (OSError, UnicodeError) as e:  # a host that no resolver takes, among others
        raise FleetlingError(
            f"Nothing can be served at {address}: {e}", "Choose another --metrics PORT."
        ) from e
    return server
