# SPDX-License-Identifier: MIT
"""What is known of the Wi-Fi while it is up; `join` brings it there."""


class Wifi:
    """`settings["wifi"]`: [[ssid, password], ...], the most wanted first. `first`: the number of
    the one to begin with."""

    first = 0

    def __init__(self, board, log, settings):
        self.board = board
        self.log = log
        self.settings = settings
        self.joins = 0
        self.last_error = ""

    def connected(self):
        return self.board.wlan.isconnected()

    def leave(self):
        """The next join is to a network of the list as it is then."""
        try:
            self.board.wlan.disconnect()
        except OSError:
            pass  # it was not connected

    def rssi(self):
        """Signal in dBm, or None."""
        try:
            return self.board.wlan.status("rssi") if self.connected() else None
        except (OSError, ValueError):  # between the question and the answer the link was lost
            return None
