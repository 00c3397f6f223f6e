# SPDX-License-Identifier: MIT
"""The way to the broker: Wi-Fi, clock, TLS, MQTT, session."""
