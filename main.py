# SPDX-License-Identifier: MIT
"""Second file of the board: starts the agent, and through it the application; or the rescue, where
boot.py has mounted no slot and the firmware has no agent frozen in. It is not run when a tool
enters the raw prompt, so that one can work on a board without a slot."""

import sys

try:
    import agent
except ImportError:
    if sys.path[0].startswith("/slot-"):
        raise  # of a slot that is good: boot.py counts it as a bad boot
    agent = None
if agent:
    agent.main()
else:
    import rescue

    rescue.main()
