# SPDX-License-Identifier: MIT
"""`fleetling demo`: a small fleet on this machine, and the main job before your eyes."""
