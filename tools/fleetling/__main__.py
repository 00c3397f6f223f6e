# SPDX-License-Identifier: MIT
"""`python -m fleetling`."""

from fleetling.cli import main

main()
