# SPDX-License-Identifier: MIT
"""Who the board is, and how it proves it."""
