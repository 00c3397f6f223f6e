# SPDX-License-Identifier: MIT
"""The Wi-Fi around the boards, and a board's station in it.

`Air` is the world that tests arrange and that boards may share. `Radio` is the driver state of one
board. It has no thread: `poll` works out what has happened since it was last asked.
"""

from micropython import const

BEACON_TIMEOUT = const(200)
NO_AP_FOUND = const(201)
AUTH_FAIL = const(202)


class Air:
    """Access points are dicts: ssid, password ("" is open), channel, rssi, bssid, up, kicks.

    `connect_ms`: from connect() to an address. `ntp_up`: whether time servers answer.
    """

    def __init__(self):
        self.points = []
        self.connect_ms = 800
        self.ntp_up = True

    def add(self, ssid, password="", rssi=-55, channel=6, up=True):
        bssid = b"\x02\xaa\x00\x00\x00" + bytes((len(self.points),))
        point = {"ssid": ssid, "password": password, "channel": channel, "rssi": rssi}
        point["bssid"] = bssid
        point["up"] = up
        point["kicks"] = 0
        self.points.append(point)
        return point

    def strongest(self, ssid, bssid=None):
        best = None
        for point in self.points:
            if point["up"] and point["ssid"] == ssid and bssid in (None, point["bssid"]):
                if best is None or point["rssi"] > best["rssi"]:
                    best = point
        return best

    def kick(self, ssid):
        """Throws every station off; they may come back at once."""
        for point in self.points:
            if point["ssid"] == ssid:
                point["kicks"] += 1


class Radio:
    """`limit` is the most attempts a connect makes, 0 for no end; `reason` the last failure."""

    def __init__(self, air, ticks_ms):
        self._air = air
        self._ticks_ms = ticks_ms
        self.active = {0: False, 1: False}
        self.limit = 0
        self.reason = 0
        self.requested = False
        self.ssid = ""
        self._password = ""
        self._bssid = None
        self._attempts = 0
        self._attempt_at = None
        self.point = None
        self._kicks = 0

    def configure(self, ssid, password, bssid):
        self.ssid = ssid
        self._password = password
        self._bssid = bssid

    def connect(self):
        self.point = None
        self.requested = True
        self._attempts = 0
        self._attempt_at = self._ticks_ms()

    def disconnect(self):
        self.requested = False
        self.point = None
        self._attempt_at = None

    def connecting(self):
        self.poll()
        return self._attempt_at is not None

    def connected(self):
        self.poll()
        return self.point is not None

    def gave_up(self):
        return self.limit != 0 and self._attempts >= self.limit

    def poll(self):
        now = self._ticks_ms()
        if self.point and not (self.point["up"] and self.point["kicks"] == self._kicks):
            self.point = None
            self._fail(BEACON_TIMEOUT, now)
        while self._attempt_at is not None and now - self._attempt_at >= self._air.connect_ms:
            self._attempt()

    def _attempt(self):
        ends = self._attempt_at + self._air.connect_ms
        point = self._air.strongest(self.ssid, self._bssid)
        if point is None:
            self._fail(NO_AP_FOUND, ends)
        elif point["password"] not in ("", self._password):
            self._fail(AUTH_FAIL, ends)
        else:
            self.point = point
            self._kicks = point["kicks"]
            self.reason = 0
            self._attempt_at = None

    def _fail(self, reason, now):
        """The driver tries again by itself, until told otherwise or the limit is reached."""
        self.reason = reason
        self._attempt_at = None
        if self.limit:
            self._attempts += 1
        if self.requested and not self.gave_up():
            self._attempt_at = now
            # Nobody asked for a long time: endless attempts all end the same way.
            if not self.limit and self._ticks_ms() - now > 10 * self._air.connect_ms:
                self._attempt_at = self._ticks_ms() - self._air.connect_ms + 1
