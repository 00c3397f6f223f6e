# SPDX-License-Identifier: MIT
"""Second file of the board: starts the agent, and through it the application."""

import agent

agent.main()
