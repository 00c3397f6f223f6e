# SPDX-License-Identifier: MIT
"""Why a life began: what the hardware says, and what the life before has left."""

from support import FakeNvs, quiet_log

from agent import bootcause


class Left:
    def __init__(self, task):
        self.task = task


def why(cause, task=b""):
    nvs = FakeNvs()
    nvs.values["boots"] = 1
    return bootcause.read(cause, quiet_log([]), nvs, Left(task))


def test_a_hang_names_its_task():
    found = why("watchdog", b"pump")
    assert (found["why"], found["task"]) == ("hung", "pump")


def test_a_name_that_is_cut_within_a_character_stops_no_start():
    name = "Bewässerung-süd".encode()
    assert len(name) == 17
    for length in range(17):
        found = why("watchdog", name[:length])["task"]
        assert name.startswith(found.encode()) and length - len(found.encode()) < 2
    assert why("watchdog", b"\xff\xfe")["task"] == ""


def test_without_an_intent_a_hard_reset_is_a_panic():
    assert why("hard")["why"] == "panic" and why("power-on")["why"] == ""
