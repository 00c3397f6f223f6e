# SPDX-License-Identifier: MIT
"""Asks a time server (SNTP, RFC 4330). Loaded while there is no connection.

SNTP is not authenticated, so it may move the clock but never the floor, and what it says below the
floor is ignored.
"""

from micropython import const

from agent.link.floor import LATEST

_AGAIN_S = const(6 * 3600)  # a crystal that drifts 50 ppm is a second off after that time


def sync(clock, log):
    """Asks when it is time to; True when the clock is set. Blocks for a second at most."""
    board = clock.board
    if clock.synced() and board.uptime_s() - clock.synced_at < _AGAIN_S:
        return True
    try:
        seconds = board.network_time(clock.server)
    except (OSError, IndexError, ValueError) as e:
        # OSError: no answer; the others: an answer that ntptime could not read.
        log.warning("clock", "clock-no-answer {}".format(e.args))
        return False
    if not clock.floor <= seconds <= LATEST:
        log.warning("clock", "clock-below-floor")
        return False
    board.set_unix_time(seconds)
    clock.synced_at = board.uptime_s()
    return True
