# SPDX-License-Identifier: MIT
# What the boards' firmware freezes: what MicroPython's own boards do, and the agent. Paths are
# relative to this file. boot.py and main.py stay files: docs/firmware.md says why.
include("$(PORT_DIR)/boards/manifest.py")
package("agent", base_path="../..", opt=2)
