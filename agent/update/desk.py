# SPDX-License-Identifier: MIT
"""The update's side that has work, as `wing` calls it. Loaded for that, then released."""

from agent import ondemand
from agent.errors import AgentError, Refused

_TRIAL = (
    "update.trial",
    "update.proof",
    "update.switch",
    "update.here",
    "update.pack",
    "update.bundle",
)
LOADED = _TRIAL + (
    "update.desk",
    "update.manifest",
    "update.previous",
    "update.updater",
    "update.job",
    "update.order",
    "update.settle",
    "update.report",
    "update.record",
    "update.firmware",
    "update.slotword",
    "leave",
    "facts",
    "link.document",
    "storage.files",
    "storage.records",
)


def settled(wing):
    """How the last life has left things: "trial", "back" or ""."""
    from agent.update import record, settle

    kept = record.load()
    before = kept["state"]
    if kept.pop("untold", False):  # the life that was for an update alone has ended it
        try:
            record.save(kept)
        except AgentError as e:
            wing.runtime.log.error("update", e.code)
        over(wing, kept)
    found = settle.settle(wing.runtime)
    kept = record.load()
    if kept["state"] != before and kept["state"] in record.OVER:
        over(wing, kept)
    if kept["id"] == record.PREVIOUS and kept["state"] in ("fetching", "verified"):
        from agent.update import previous

        wing.order = previous.again()
    return found


def receive(wing, payload):
    """Takes an assignment; whether it is another than before."""
    from agent.update import order, record

    try:
        new = order.parse(payload)
    except Refused as e:
        wing.runtime.log.warning("update", "{} {}".format(e.code, e.detail))
        return False
    if wing.order and wing.order["id"] == new["id"]:
        return False
    live = wing.live
    if (
        wing.order
        and wing.order["id"] == record.PREVIOUS
        and not (live and live["why"] == "retry")
    ):
        wing.order["after"] = new  # it may be the one that brought what is left
        return False
    if live and live["state"] in record.OVER and live["id"] == new["id"]:
        return False  # it is over, and flash did not take that
    wing.order = new
    wing.since_s = wing.runtime.board.uptime_s()
    return True


async def previous(wing, kind):
    from agent.update import previous

    wing.order = await previous.order(wing.runtime, kind)


def document(wing):
    from agent.update import report

    return report.document(wing)


def over(wing, kept):
    from agent.update import report

    report.over(wing, kept)


async def run(wing, task):
    """A trial first, if there is one, and then what is assigned."""
    if wing.trial:
        from agent.update import trial

        await trial.run(wing, task, wing.trial == "back")
        wing.trial = trial = ""
        ondemand.release(*_TRIAL)
    from agent.update import updater

    await updater.run(wing, task)
