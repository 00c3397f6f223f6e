# SPDX-License-Identifier: MIT
"""The fleet as the host sees it through the broker."""
