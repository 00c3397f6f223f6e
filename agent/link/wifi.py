# SPDX-License-Identifier: MIT
"""What is known of the Wi-Fi while it is up; `join` brings it there."""


class Wifi:
    def __init__(self, board, log, networks):
        self.board = board
        self.log = log
        self.networks = networks
        self.joins = 0
        self.last_error = ""

    def connected(self):
        return self.board.wlan.isconnected()

    def rssi(self):
        """Signal in dBm, or None."""
        try:
            return self.board.wlan.config("rssi") if self.connected() else None
        except (OSError, ValueError):  # between the question and the answer the link was lost
            return None
