# SPDX-License-Identifier: MIT
"""An application's own figures: whatever it gives, a heartbeat stays JSON."""

import json

from support import raises

from agent.errors import Refused
from agent.monitor.metrics import Metrics


def test_numbers_are_shown():
    metrics = Metrics()
    metrics.count("rounds")
    metrics.count("rounds", 3)
    metrics.gauge("soil", 0.5)
    metrics.gauge("pump", -2)
    assert metrics.counts == {"rounds": 4} and metrics.gauges == {"soil": 0.5, "pump": -2}


def test_what_is_no_number_is_not_shown_nor_is_what_was_before():
    for value in (float("nan"), float("inf"), -float("inf"), None, "x" * 5000, [1], object()):
        metrics = Metrics()
        metrics.gauge("soil", 1)
        metrics.gauge("soil", value)
        metrics.count("rounds")
        metrics.count("rounds", value)
        assert metrics.gauges == {} and metrics.counts == {"rounds": 1}, value
        json.dumps(metrics.gauges)


def test_names_are_few_and_short():
    metrics = Metrics()
    assert raises(Refused, metrics.gauge, "n" * 17, 1).code == "metric-names"
    for number in range(16):
        metrics.gauge(str(number), number)
    metrics.gauge("3", 7)
    assert raises(Refused, metrics.count, "more").code == "metric-names"
