# SPDX-License-Identifier: MIT
"""The application is at something that no update may interrupt."""


class Busy:
    """A context that several may enter; `count` of them have."""

    def __init__(self):
        self.count = 0

    def __enter__(self):
        self.count += 1

    def __exit__(self, *exc):
        self.count -= 1
