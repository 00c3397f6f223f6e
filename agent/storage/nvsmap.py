# SPDX-License-Identifier: MIT
"""The budgeted map of NVS: every key that Fleetling keeps there, and its largest size in bytes.

The stock partition holds about 10 KB, Wi-Fi takes some, and a board whose NVS is full is wiped at
its next boot. So all that may ever stand here together stays below `BUDGET` (a test adds it up),
and a key that is not in the map, or a value that is too long for it, is refused.
"""

from agent.errors import StorageError

BUDGET = 8192
INT = 0  # the size that marks a 32-bit integer

MAP = {
    # Written once by the flashing tool; never by the board.
    "fl_factory": {
        "id": 32,
        "ca": 512,
        "broker": 96,
        "wifi": 256,
        "ntp": 64,
        "repo": 128,
        "root": 36,
        "conf": 256,
        "claim_crt": 512,
        "claim_key": 128,
        "crt": 512,
        "key": 128,
    },
    "fl_state": {
        "boots": INT,
        "slot": INT,
        "dev": INT,
        "intent0": 128,
        "intent1": 128,
        "floor0": 32,
        "floor1": 32,
    },
}

# A board carries a claim or a ready identity, never both.
EITHER = (("claim_crt", "claim_key"), ("crt", "key"))


def cost(size):
    """Bytes of flash that a value of `size` bytes takes: 32-byte entries, for a blob with its data
    header and its index (ESP-IDF, NVS storage library)."""
    return 32 if size == INT else 32 * (2 + (size + 31) // 32)


class Nvs:
    """One namespace, bounded by the map. Errors are StorageError with a code "nvs-..."."""

    def __init__(self, board, namespace):
        self._nvs = board.nvs(namespace)
        self._sizes = MAP[namespace]

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
