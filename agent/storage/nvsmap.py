# SPDX-License-Identifier: MIT
"""The budgeted map of NVS: every key that Fleetling keeps there, and its largest size in bytes.

The stock partition holds about 10 KB, Wi-Fi takes some, and a board whose NVS is full is wiped at
its next boot. So all that may ever stand here together stays below 8 KB (a test adds it up), and a
key that is not in the map, or a value that is too long for it, is refused. Loaded to open a
namespace, and released.
"""

from agent.storage.nvs import Nvs

INT = 0  # the size that marks a 32-bit integer
IDENTITY = 520  # a record of a state, a key of 32 bytes and a certificate of at most 470
SETTINGS = 512  # a record of a settings document of at most 498

MAP = {
    # Written once by the flashing tool; never by the board.
    "fl_factory": {
        "id": 32,
        "ca": 512,
        "broker": 96,
        "enrol": 96,
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
    "fl_id": {
        "ident0": IDENTITY,
        "ident1": IDENTITY,
        "next0": IDENTITY,
        "next1": IDENTITY,
    },
    "fl_state": {
        "boots": INT,
        "slot": INT,
        "dev": INT,
        "reset": INT,
        "button": INT,
        "guard": INT,
        "sec_app": INT,
        "sec_fw": INT,
        "rescue": 400,  # an address of 297 characters, and 101 beside it
        "intent0": 128,
        "intent1": 128,
        "floor0": 32,
        "floor1": 32,
    },
    "fl_conf": {
        "conf0": SETTINGS,
        "conf1": SETTINGS,
        "trial": 96,
    },
}


def open_nvs(board, namespace):
    """The namespace as a bounded `Nvs`."""
    return Nvs(board.nvs(namespace), MAP[namespace])
