# SPDX-License-Identifier: MIT
"""Settings: typed, changed as a whole, undone when they cut the board off."""
