# SPDX-License-Identifier: MIT
"""How boards are: figures, alerts, crashes, as people look at them."""
