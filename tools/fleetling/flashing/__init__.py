# SPDX-License-Identifier: MIT
"""Puts all that a board needs on its flash, over the chip's own loader: one board, or a batch."""
