# SPDX-License-Identifier: MIT
"""How the board is doing."""
