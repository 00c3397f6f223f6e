# SPDX-License-Identifier: MIT
"""The agent that runs on the board."""
