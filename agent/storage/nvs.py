# SPDX-License-Identifier: MIT
"""One namespace of NVS, held to the sizes of the budgeted map (`nvsmap`)."""

from agent.errors import StorageError


class Nvs:
    """`sizes`: key -> largest size. Errors are StorageError with a code "nvs-..."."""

    def __init__(self, store, sizes):
        self._nvs = store
        self._sizes = sizes

    def _size(self, key):
        size = self._sizes.get(key)
        if size is None:
            raise StorageError("nvs-key", key)
        return size

    def get(self, key):
        """The blob, or None."""
        return self._nvs.get(key, self._size(key))

    def set(self, key, data):
        if len(data) > self._size(key):
            raise StorageError("nvs-size", key)
        self._nvs.set(key, data)

    def get_int(self, key, default=0):
        self._size(key)
        value = self._nvs.get_int(key)
        return default if value is None else value

    def set_int(self, key, value):
        self._size(key)
        self._nvs.set_int(key, value)

    def erase(self, key):
        self._size(key)
        self._nvs.erase(key)
