# SPDX-License-Identifier: MIT
"""Asks a time server (SNTP, RFC 4330). Loaded while there is no connection.

SNTP is not authenticated, so it may move the clock but never the floor, and what it says below the
floor is ignored.
"""


def sync(clock, log):
    """Asks when it is time to; True when the clock is set. Blocks for a second at most."""
    if not clock.due():
        return True
    try:
        seconds = clock.ask()
    except (OSError, IndexError, ValueError) as e:
        # OSError: no answer; the others: an answer that ntptime could not read.
        log.warning("clock", "clock-no-answer {}".format(e.args))
        return False
    if not clock.accept(seconds):
        log.warning("clock", "clock-below-floor")
        return False
    return True
