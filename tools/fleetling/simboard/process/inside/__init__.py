# SPDX-License-Identifier: MIT
"""What the MicroPython interpreter runs: the firmware around the agent."""
