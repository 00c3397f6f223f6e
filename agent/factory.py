# SPDX-License-Identifier: MIT
"""Factory reset, in three levels that contain each other.

"config": settings and development mode. "app": also the application's slots and its data, so that
the factory slot runs. "identity": also the keys that the board made, so that it enrols again.
Never touched: what the flashing tool gave, the floors, numbers that only grow, events that wait.

The order is a number in NVS, given by the button, a command or a person at the prompt; it is
carried out at the next start, before Wi-Fi, and can be cut anywhere: the order stays until all is
done, and doing it again ends the same. The negative number says that it is done, and remains to be
told. Loaded where there is an order, then released.
"""

import os
import sys

from agent import ondemand
from agent.errors import AgentError, Refused
from agent.storage import files, nvsmap, scrub

LEVELS = ("config", "app", "identity")
KEY = "reset"
_KEYS = (
    ("fl_conf", ("conf0", "conf1", "trial")),
    None,
    ("fl_id", ("ident0", "ident1", "next0", "next1")),
)
_APP = ("a", "b")
_IDENTITY = "/fl/identity"
_FOLDER = 0x4000
_AT_ONCE = 64


def check(level):
    """The number of a level; Refused when there is none of that name."""
    if level not in LEVELS:
        raise Refused("reset-level", str(level))
    return 1 + LEVELS.index(level)


def order(board, level):
    """Gives the order, which a reset carries out."""
    nvsmap.open_nvs(board, "fl_state").set_int(KEY, check(level))


def carry_out(board, log, state):
    """Carries out the order, or as much of it as flash takes: the rest is tried at the next start.

    The board must be able to run afterwards in any case, so nothing is raised.
    """
    number = state.get_int(KEY)
    if not 1 <= number <= len(LEVELS):
        return
    level = LEVELS[number - 1]
    log.warning("reset", "factory reset: " + level)
    try:
        board.wlan.active(False)
        _forget(board, state, number)
        state.set_int(KEY, -number)
    except (AgentError, OSError, MemoryError, RuntimeError) as e:  # folders may be deep, too
        log.error("reset", "not done: {}".format((e.args or ("",))[0]))


def _forget(board, state, number):
    if number >= 3:
        scrub.files()
        files.remove(_IDENTITY)
    for found in _KEYS[:number]:
        if found:
            namespace = nvsmap.open_nvs(board, found[0])
            for key in found[1]:
                namespace.erase(key)
    state.erase("button")
    state.set_int("dev", 0)
    if number >= 2:
        from agent.update import record

        state.set_int("slot", 0)
        record.forget()
        for slot in _APP:
            if (
                "/slot-" + slot not in sys.path
            ):  # the factory slot is damaged: this is what there is
                files.remove("/slots/" + slot + ".pack")
            files.remove("/slots/" + slot + ".new")
        _remove_tree("/data")
    scrub.nvs()


def _remove_tree(path):
    try:
        found = _some(path)
    except OSError as e:
        if e.args[0] == 2:  # ENOENT
            return
        if e.args[0] != 20:  # ENOTDIR
            raise
        os.remove(path)
        return
    while found:
        for name, is_folder in found:
            (_remove_tree if is_folder else os.remove)(path + "/" + name)
        found = _some(path)
    os.rmdir(path)


def _some(path):
    """The first names in a folder, and whether each is one. All of them may be more than the heap
    holds: an application may have made thousands."""
    found = []
    for entry in os.ilistdir(path):
        if len(found) < _AT_ONCE:
            found.append((entry[0], entry[1] == _FOLDER))
    return found


def tell(events, state):
    """Says what was done, once it is sure that this will not be lost."""
    number = -state.get_int(KEY)
    if 1 <= number <= len(LEVELS):
        events.add("factory-reset", level=LEVELS[number - 1])
        state.set_int(KEY, 0)


def release():
    ondemand.release("factory", "update.record", "storage.scrub", "facts", "storage.nvsmap")
