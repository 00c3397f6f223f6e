# SPDX-License-Identifier: MIT
"""Second file of the board: starts the agent, and through it the application; or the rescue, where
boot.py has mounted no slot. It is not run when a tool enters the raw prompt, so that one can work
on a board without a slot."""

import sys

if sys.path[0].startswith("/slot-"):
    import agent

    agent.main()
else:
    import rescue

    rescue.main()
