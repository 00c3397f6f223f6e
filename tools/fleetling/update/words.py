# SPDX-License-Identifier: MIT
"""What boards report of updates, in words, and what to do about it. No I/O.

docs/errors.md says the same of every code of the agent.
"""

from __future__ import annotations

from datetime import UTC, datetime

from fleetling.update.standing import RESCUE, At, Report, Standing

__all__ = ["CODES", "bar", "code_words", "mark", "sentence", "versions"]

AGAIN = "publish it again: fleetling release"
LOOK = "look what is wrong: fleetling release verify"
REFLASH = "install it again: fleetling flash"
RESTORE = "put the release that it ran back where it was, under the same URL"
CRASHED = "see where: fleetling crash ID; release a corrected version"

# code -> (what happened, what to do). A code that is not here is looked up by its first word and
# "-*". ID stands for the board's.
CODES: dict[str, tuple[str, str]] = {
    "same": ("it runs this already", ""),
    "update-ahead": (
        "the board asks for more files of the metadata than it can guess",
        "delegate to fewer roles, or name them like their targets' folders",
    ),
    "update-assignment": ("the assignment makes no sense to the board", "assign it again"),
    "update-board": (
        "the release is for another chip, build or .mpy version",
        "build it for this board: fleetling release build",
    ),
    "update-build": (
        "the release names builds, and firmware before 1.25 does not tell its own",
        "if it is for this board, build it again with --machine: docs/releases.md",
    ),
    "update-busy": ("another update is under way", "wait for it, or cancel it"),
    "update-condemned": (
        "this release has failed here before",
        "release a newer version; the same one is not tried again",
    ),
    "update-custom": ("the release's description makes no sense to the board", AGAIN),
    "update-flash": (
        "the flash does not hold what was written to it",
        "assign it again; if it stays, the flash is worn: replace the board",
    ),
    "update-kind": ("there is no such kind", "say app or firmware"),
    "update-memory": (
        "too little memory for an update, even with nothing else loaded",
        "a smaller repository, or a firmware that freezes the agent",
    ),
    "update-none": ("there is nothing to go back to", "assign a release"),
    "update-older": (
        "the board runs a newer version",
        "go back: fleetling update previous; or release it under a higher version",
    ),
    "update-repository": (
        "the board was provisioned without a repository",
        "set repo in fleetling.toml, provision it again, and flash it",
    ),
    "update-security": (
        "its security counter is lower than what was confirmed on this board",
        "release a version with a counter that is high enough",
    ),
    "update-space": (
        "the file system has no room for the application",
        "remove files in /data, or make the application smaller",
    ),
    "update-tries": (
        "it was tried as often as is allowed, and the board never came up in it",
        "look at the board's power and at fleetling events ID",
    ),
    "update-version": ("the version is none", AGAIN),
    "trial-hung": ("the new release hung, and the watchdog has reset the board", CRASHED),
    "trial-starved": ("a task of the new release did not come to its turn", CRASHED),
    "trial-crash": ("the new release crashed", CRASHED),
    "trial-panic": ("the new firmware crashed", CRASHED),
    "trial-tasks": ("the new release did not keep its tasks going", CRASHED),
    "trial-healthy": (
        "the application's healthy() did not say yes in time",
        "look why: fleetling events ID",
    ),
    "trial-link": (
        "with it the board did not reach the broker in time",
        "if the network was away: assign it again",
    ),
    "trial-power": (
        "the power went during each of its trials",
        "look at the board's power, and assign it again",
    ),
    "firmware-size": (
        "the firmware is larger than the board's slot",
        "make it smaller, or flash a layout with larger slots",
    ),
    "firmware-image": ("there is no firmware image where one should be", "assign it again"),
    "firmware-boot": (
        "the bootloader did not take the new firmware",
        "assign it again; if it stays, flash the board",
    ),
    "flash-read": ("the flash cannot be read", "replace the board"),
    "flash-write": ("the flash cannot be written", "replace the board"),
    "fs-full": ("the file system is full", "remove files in /data"),
    "fs-*": ("the file system failed", "a damaged one needs a new flash"),
    "pack-damaged": ("what was written is damaged", ""),
    "bundle-*": ("the application's bundle is damaged or malicious", AGAIN),
    "payload-base": ("the delta is for another firmware", "the board takes the whole image"),
    "payload-memory": (
        "the payload needs larger buffers than this build has",
        "pack it with smaller frames or window",
    ),
    "payload-version": ("this agent cannot read the payload", "update the agent first"),
    "payload-state": ("the saved progress is of something else", "the board starts anew"),
    "payload-*": ("the payload is damaged or malicious", AGAIN),
    "tuf-expired": (
        "signed metadata has run out: nobody renewed it, or somebody holds it back",
        "renew it: fleetling release refresh; check the board's clock",
    ),
    "tuf-threshold": ("too few good signatures", "sign it with the missing keys"),
    "tuf-rollback": (
        "the server has older metadata than the board has seen",
        "publish what is newest",
    ),
    "tuf-version": ("metadata is of another version than announced", LOOK),
    "tuf-unknown": ("no role signs for this target", "assign a release that is published"),
    "tuf-path": ("the target's name is malformed", "assign it by its product and version"),
    "tuf-root": ("the board has no root metadata to start from", "provision it again"),
    "tuf-*": ("the update metadata is not good", LOOK),
    "not-found": ("the server does not have a file", "is all of the repository on the server?"),
    "http-url": ("the repository's address is malformed", "correct repo, and provision again"),
    "http-status": ("the server answers with an error", "look at its log"),
    "http-redirect": ("the server sends the board elsewhere", "serve the files where repo says"),
    "http-changed": ("the file changed while it was fetched", ""),
    "http-*": ("the server does not answer as it should", "look at the server"),
    "tls-ca": (
        "the server's certificate is not signed by the fleet's CA",
        "give the server one of the fleet, or serve it by http",
    ),
    "tls-*": ("no TLS with the server", "check its certificate, and the board's clock"),
    "tcp-*": ("the server is out of reach", "see whether it runs, and whether boards reach it"),
    "link-*": ("the connection broke", "see whether the network is good there"),
    "wifi-*": ("no Wi-Fi", "see whether it is good there"),
    "rescue-done": ("it has the last confirmed application again, and starts it", ""),
    "rescue-none": ("nothing was ever confirmed on it, so there is nothing to fetch", REFLASH),
    "rescue-record": ("what it kept for this is damaged", REFLASH),
    "rescue-space": ("its file system is full of other things", REFLASH),
    "rescue-hash": ("the server has another file there than was confirmed", RESTORE),
    "rescue-format": ("the server has something else there than was confirmed", RESTORE),
    "rescue-http": ("the server does not have the file, or not there", RESTORE),
    "rescue-tls": (
        "the server's certificate is not one that it can trust",
        "give the server one of the fleet's CA; check its time",
    ),
    "rescue-*": ("it could not fetch it this time, and tries again", ""),
}
WHY = {
    "window": "ready; waits for its window",
    "busy": "ready; waits for its application, which is busy",
    "not-before": "waits for its time",
    "jitter": "waits for its turn",
    "clock": "waits until it knows the time",
    "requires": "held: it requires what the board does not run yet",
    "retry": "tries again soon",
    "settings": "waits until its new settings have proven themselves",
    "alone": "fetches without its connection; comes back by itself",
}
STATES = {
    "assigned": "has taken it",
    "fetching": "fetches",
    "verified": "has all of it",
    "waiting": "waits",
    "switching": "starts the new release",
    "trial": "tries the new release",
    "confirmed": "runs it for good",
    "reverting": "goes back",
    "reverted": "went back to what ran before",
    "failed": "gave up",
    "refused": "refused",
}
WIDTH = 10


def code_words(code: str) -> tuple[str, str]:
    """(what happened, what to do) of a code; one that is unknown stands for itself."""
    if code in CODES:
        return CODES[code]
    return CODES.get(code.partition("-")[0] + "-*", (code, "look it up in docs/errors.md"))


def bar(share: float | None) -> str:
    """A share as blocks and a number."""
    if share is None:
        return ""
    full = int(share * WIDTH)
    return f"{'█' * full}{'░' * (WIDTH - full)} {int(share * 100):3} %"


def versions(found: Standing) -> str:
    """What is on its way, or was: pump/1.2.0; "app 1.2.0" where only the board's report says."""
    if found.assignment is not None and found.at is not At.NONE:
        return ", ".join(path.rpartition(".")[0] or path for path in found.assignment.targets)
    return ", ".join(f"{kind} {version}" for kind, version in found.report.versions)


def mark(found: Standing) -> str:
    """One word for a table."""
    if found.report.state == RESCUE:
        return RESCUE
    if found.at is At.AWAY:
        return "away"
    if found.at is At.PENDING:
        return "sent"
    if found.at is At.HELD:
        return "held"
    if found.report.same:
        return "same"
    return found.report.state or ("none" if found.at is At.NONE else "sent")


def sentence(found: Standing, *, advice: bool = True) -> str:
    """Where a board stands, in words, with what to do where there is something."""
    report = found.report
    if report.state == RESCUE:
        what, to_do = code_words(report.code)
        said = f"has no application that is good: {what}"
        return f"{said}. {to_do[0].upper()}{to_do[1:]}" if advice and to_do else said
    if found.at is At.AWAY:
        return "away; takes it when it comes"
    if found.at is At.PENDING:
        return "has not answered yet"
    if not report.state or (report.state == "idle" and not report.code):
        return "nothing is assigned" if found.at is At.NONE else "has not begun"
    said = STATES.get(report.state, report.state)
    if report.state in ("assigned", "waiting", "verified", "fetching") and report.why:
        said = WHY.get(report.why, report.why)
        if report.why == "not-before" and found.taken and found.assignment is not None:
            said += _at(found.assignment.not_before)
    if not found.online and not report.over:
        said += ", and is away"
    if not report.code or (not report.over and report.why != "retry" and not _going_back(report)):
        return said  # under way, it may still be the code of the last assignment
    what, to_do = code_words(report.code)
    if report.same:
        return what
    detail = f" ({report.detail})" if report.detail else ""
    said += f": {what}{detail}"
    if report.state == "failed" and "assign it again" not in to_do:
        to_do = f"{to_do}, then assign it again" if to_do else "assign it again"
    if advice and to_do:
        said += f". {to_do[0].upper()}{to_do[1:].replace(' ID', ' ' + found.id)}"
    return said


def _going_back(report: Report) -> bool:
    return report.state == "reverting" or report.state not in STATES


def _at(unix_s: int | None) -> str:
    if unix_s is None:
        return ""
    try:
        return f", {datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return ""
