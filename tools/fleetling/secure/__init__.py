# SPDX-License-Identifier: MIT
"""What is burnt into a chip for good: keys, switches and counters in its eFuses."""
