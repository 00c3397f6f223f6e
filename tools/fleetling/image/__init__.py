# SPDX-License-Identifier: MIT
"""Flash images: the bytes that are written to a board, and that the simulated board boots."""
