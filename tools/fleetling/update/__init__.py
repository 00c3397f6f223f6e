# SPDX-License-Identifier: MIT
"""Assigning releases to boards: what there is, who gets it and when, and what became of it."""
