# SPDX-License-Identifier: MIT
"""The broker: its rules, mosquitto's files for them, and brokers for demo and tests."""
