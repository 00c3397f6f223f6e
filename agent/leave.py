# SPDX-License-Identifier: MIT
"""A wanted reset: says good-bye to the broker, so that it is not taken for a loss.

Loaded when there is one.
"""

import asyncio

from agent.errors import LinkError

_SETTLE_S = 0.3  # for the broker's last acknowledgements to leave the socket


async def leave(session, supervisor, why, detail):
    """Resets the board, with this recorded intent; `session` is None without an identity."""
    if session and session.connected():
        try:
            await session.publish("online", {"online": False}, 1, True)
            await session.disconnect()
        except (LinkError, OSError) as e:
            supervisor.log.warning("link", "good-bye lost: {}".format(e.args[0]))
        await asyncio.sleep(_SETTLE_S)
    supervisor.reset(why, detail)
