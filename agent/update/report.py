# SPDX-License-Identifier: MIT
"""What the board says of its update, on `up/update` and as an event. Loaded to say it."""

from agent.update import record

_TOLD = ("confirmed", "reverted", "failed", "refused")


def document(wing):
    """The report, a dict."""
    kept, live = record.load(), wing.live
    made = {
        "state": kept["state"],
        "id": kept["id"],
        "targets": [part["path"] for part in kept["parts"]],
        "done": 0,
        "of": 0,
        "why": "",
        "code": kept["code"],
        "detail": kept["detail"],
        "tries": kept["n"],
        "at": wing.runtime.clock.now(),
    }
    if live:
        made.update(live)  # what goes on, which the record need not speak of yet
    if made["id"] == kept["id"]:
        for part in kept["parts"]:
            made[part["kind"]] = part["version"]
    return made


def over(wing, kept):
    """Tells of an end, once."""
    log, state = wing.runtime.log, kept["state"]
    what = ", ".join(["{} {}".format(part["kind"], part["version"]) for part in kept["parts"]])
    log.info("update", "{} {} {}".format(state, what, kept["code"]))
    if state in _TOLD:
        detail = {part["kind"]: part["version"] for part in kept["parts"]}
        wing.runtime.events.add("update", state=state, reason=kept["code"], **detail)
