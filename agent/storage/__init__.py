# SPDX-License-Identifier: MIT
"""What survives a reset: records, the NVS map, files."""
