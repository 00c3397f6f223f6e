# SPDX-License-Identifier: MIT
"""What stands in sys.modules for a built-in module: any object with the right attributes."""


class Module:
    def __init__(self, name):
        self.__name__ = name

    def __repr__(self):
        return "<module '{}'>".format(self.__name__)
