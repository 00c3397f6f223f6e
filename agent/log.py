# SPDX-License-Identifier: MIT
"""Ring log: the last lines, kept in memory, and printed on the console as they come.

Invariants: at most `lines` lines of at most `width` characters are kept, whatever is logged;
nothing here allocates more than one line. A line is `uptime level wing: text`. Secrets are the
caller's duty: only codes, names and figures are logged, never message bodies or key material.
"""

_LEVELS = "DIWE"


class Log:
    def __init__(self, uptime_s, write=print, level="I", lines=40, width=120):
        self._uptime_s = uptime_s
        self._write = write
        self._width = width
        self._ring = [""] * lines
        self._next = 0
        self.set_level(level)

    def set_level(self, level):
        """Shows and keeps lines of `level` ("D", "I", "W" or "E") and above."""
        self._least = _LEVELS.index(level)

    def _add(self, level, wing, text):
        if level < self._least:
            return
        line = "{:8d} {} {}: {}".format(self._uptime_s(), _LEVELS[level], wing, text)
        line = line.replace("\n", " ")[: self._width]
        self._ring[self._next] = line
        self._next = (self._next + 1) % len(self._ring)
        self._write(line)

    def debug(self, wing, text):
        self._add(0, wing, text)

    def info(self, wing, text):
        self._add(1, wing, text)

    def warning(self, wing, text):
        self._add(2, wing, text)

    def error(self, wing, text):
        self._add(3, wing, text)

    def tail(self, count):
        """The last `count` lines, oldest first."""
        ring = self._ring[self._next :] + self._ring[: self._next]
        return [line for line in ring if line][-count:]
