# SPDX-License-Identifier: MIT
"""Checks of a board, each a value from values, with what to do about it.

Nothing here talks to a board or a network. `install` looks at those in BEFORE, `doctor` at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from fleetling.errors import FleetlingError
from fleetling.pki import load_certificate
from fleetling.port.facts import Facts

__all__ = [
    "BEFORE",
    "GOOD",
    "SKIPPED",
    "WARNING",
    "WRONG",
    "Finding",
    "agent",
    "certificate",
    "clock",
    "files",
    "identity",
    "mode",
]

GOOD, WARNING, WRONG, SKIPPED = "good", "warning", "wrong", "skipped"

OLDEST = (1, 24)
HEAP = 120_000  # the agent with TLS takes about 75,000; an update needs room beside it
SPACE = 400_000  # of a file system: two packs of 155,000 bytes, metadata, the application's data
NVS = 0x4000
CLOCK_S = 300
SOON = timedelta(days=30)
YEAR_2020 = 1577836800


@dataclass(frozen=True)
class Finding:
    """What a check has found.

    Attributes:
        check: its name, one word.
        state: GOOD, WARNING, WRONG or SKIPPED.
        text: what is the case.
        remedy: what to do about it.
    """

    check: str
    state: str
    text: str
    remedy: str = ""

    def document(self) -> dict[str, str]:
        """For programs."""
        return asdict(self)


def firmware(facts: Facts) -> Finding:
    """Whether MicroPython is there, on an ESP32, and new enough."""
    version = ".".join(str(part) for part in facts.version)
    what = f"MicroPython {version}, {facts.text('build') or facts.text('machine')}"
    if facts.text("interpreter") != "micropython":
        return Finding(
            "firmware",
            WRONG,
            f"{facts.text('interpreter') or 'something'}, no MicroPython",
            "Put MicroPython on it: fleetling flash.",
        )
    if facts.text("platform") != "esp32":
        return Finding(
            "firmware",
            WRONG,
            f"{what}, on {facts.text('platform')}",
            "The agent runs on ESP32 boards.",
        )
    if facts.version < OLDEST:
        return Finding(
            "firmware", WRONG, what, "Flash MicroPython 1.24 or newer: fleetling flash."
        )
    return Finding("firmware", GOOD, what)


def heap(facts: Facts) -> Finding:
    """Whether the agent with TLS fits."""
    size = facts.number("heap")
    text = f"{size:,} bytes"
    if size and size < HEAP:
        return Finding(
            "heap",
            WRONG,
            f"{text}; the agent with TLS wants {HEAP:,}",
            "Use a board with more memory, or a firmware without what takes it.",
        )
    return Finding("heap", GOOD if size else SKIPPED, text if size else "not known")


def table(facts: Facts) -> Finding:
    """Whether firmware can be updated: two slots and otadata."""
    if not facts.partitions:
        return Finding("table", SKIPPED, "the partition table cannot be read")
    slots = [f"{each.label} {each.size // 1024} KB" for each in facts.slots]
    if len(slots) < 2 or facts.partition("otadata") is None:
        return Finding(
            "table",
            WARNING,
            "no second slot for firmware: firmware updates are not possible here",
            "The application can be updated. For firmware flash an OTA build: fleetling flash.",
        )
    return Finding("table", GOOD, ", ".join(slots))


def rollback(facts: Facts) -> Finding:
    """Whether the bootloader goes back by itself from firmware that does not start."""
    state = facts.firmware_state
    if len(facts.slots) < 2:
        return Finding("rollback", SKIPPED, "no second slot")
    if state in ("valid", "pending"):
        return Finding("rollback", GOOD, f"{facts.text('runs')} is {state}")
    if state in ("new", "undefined"):
        return Finding(
            "rollback",
            WARNING,
            f"{facts.text('runs')} runs as {state!r}: this bootloader does not go back by itself",
            "boot.py goes back after ten starts, if firmware gets that far. For the rest, flash a "
            "bootloader with rollback (docs/hardware.md).",
        )
    return Finding(
        "rollback",
        WARNING,
        "not known before the first firmware update",
        "Official OTA builds have it.",
    )


def storage(facts: Facts) -> Finding:
    """Whether the file system survives power cuts, and has room for two slots."""
    size, free = [*(facts.said.get("storage") or []), 0, 0][:2]
    text = f"{free:,} of {size:,} bytes free"
    if facts.said.get("littlefs") is False:
        return Finding(
            "storage",
            WRONG,
            "not littlefs: a power cut can spoil it",
            "Save what you need from it and flash the board anew: fleetling flash --erase.",
        )
    if not size:
        return Finding("storage", SKIPPED, "not known")
    if size < SPACE:
        return Finding(
            "storage",
            WARNING,
            f"{text}: {SPACE:,} are wanted for two slots of the application",
            "It takes the agent, but hardly an update: use a layout with a larger vfs partition.",
        )
    return Finding("storage", GOOD, text)


def nvs(facts: Facts) -> Finding:
    """Whether NVS has the size that the agent's map was made for."""
    found = facts.partition("nvs")
    if found is None:
        return Finding("nvs", SKIPPED, "not known")
    if found.size < NVS:
        return Finding(
            "nvs",
            WRONG,
            f"{found.size:,} bytes; {NVS:,} are needed",
            "Flash a layout with a larger nvs partition: fleetling flash.",
        )
    return Finding("nvs", GOOD, f"{found.size:,} bytes")


# What has to be good before the agent is put on a board.
BEFORE: tuple[Callable[[Facts], Finding], ...] = (firmware, heap, table, rollback, storage, nvs)


def clock(facts: Facts, now: datetime) -> Finding:
    """The board's clock against this machine's."""
    unix = facts.number("unix")
    if not unix:
        return Finding("clock", SKIPPED, "not known")
    if unix < YEAR_2020 or facts.said.get("synced") is False:
        return Finding(
            "clock",
            WARNING,
            "not set since the power came",
            f"The agent asks {facts.text('ntp') or 'its time server'} once it has Wi-Fi.",
        )
    off = unix - now.timestamp()
    text = f"{off:+.0f} s from this machine's"
    if abs(off) > CLOCK_S:
        return Finding(
            "clock",
            WRONG,
            text,
            "One of the two is wrong: check this machine's, then the setting ntp.",
        )
    return Finding("clock", GOOD, text)


def mode(facts: Facts) -> Finding:
    """Whether the board runs as it should in the field."""
    if facts.said.get("safe"):
        return Finding(
            "mode",
            WRONG,
            "safe mode: the application is not started",
            "fleetling pull shows the last crash; a new release ends it, or the command resume.",
        )
    if facts.number("dev") == 1:
        return Finding(
            "mode",
            WARNING,
            "development mode: no watchdog",
            "Before it leaves: fleetling dev off.",
        )
    return Finding("mode", GOOD, f"normal, start {facts.number('boots')}")


def identity(facts: Facts) -> Finding:
    """Whether the board knows who it is, and has proven it."""
    name = facts.text("id")
    if not name:
        return Finding(
            "identity",
            WRONG,
            "it was never provisioned",
            "fleetling provision ID, then fleetling install --id ID.",
        )
    if facts.text("identity_error"):
        return Finding(
            "identity", WRONG, f"{name}: {facts.text('identity_error')}", "docs/errors.md"
        )
    if facts.data("crt") or facts.said.get("own_key"):
        return Finding("identity", GOOD, name)
    return Finding(
        "identity",
        WARNING,
        f"{name}, with a claim: it has not enrolled yet",
        "It enrols when it reaches the hub: fleetling hub.",
    )


def certificate(check: str, data: bytes, now: datetime, *, remedy: str) -> Finding:
    """Whether a certificate (DER) is valid now, and for how long."""
    if not data:
        return Finding(check, SKIPPED, "none")
    try:
        found: x509.Certificate = load_certificate(data, check)
    except FleetlingError as e:
        return Finding(check, WRONG, e.message, "Provision the board again.")
    until = found.not_valid_after_utc
    if not isinstance(found.public_key(), ec.EllipticCurvePublicKey):
        return Finding(check, WRONG, "not on P-256", "Provision the board again.")
    if found.not_valid_before_utc > now:
        return Finding(
            check,
            WRONG,
            f"valid from {found.not_valid_before_utc:%Y-%m-%d} on",
            "Check this machine's clock.",
        )
    if until < now:
        return Finding(check, WRONG, f"expired on {until:%Y-%m-%d}", remedy)
    if until - now < SOON:
        return Finding(check, WARNING, f"until {until:%Y-%m-%d}", remedy)
    return Finding(check, GOOD, f"until {until:%Y-%m-%d}")


def files(found: Mapping[str, str | None], wanted: Mapping[str, str]) -> Finding:
    """The files outside of the slots: SHA-256 by path, those on the board against those here."""
    missing = [path for path in wanted if not found.get(path)]
    other = [path for path in wanted if found.get(path) not in (None, wanted[path])]
    if missing:
        return Finding(
            "files",
            WRONG,
            f"not there: {', '.join(missing)}",
            "Put the agent on it: fleetling install.",
        )
    if other:
        return Finding(
            "files",
            WARNING,
            f"not those of this installation: {', '.join(other)}",
            "fleetling install brings them up to date.",
        )
    return Finding("files", GOOD, f"{', '.join(wanted)} are those of this installation")


def agent(
    slots: Mapping[str, Mapping[str, str] | None], runs: str, wanted: Mapping[str, str]
) -> Finding:
    """The agent in the slot that runs, file by file.

    Args:
        slots: of each slot the SHA-256 of its files by path, None where its pack is no pack.
        runs: the slot's name.
        wanted: the agent's files as this installation would build them.
    """
    found = slots.get(runs)
    if not found:
        what = "there is no slot" if runs not in slots else "its manifest is damaged"
        return Finding(
            "agent", WRONG, f"{runs}: {what}", "Put the agent on it: fleetling install."
        )
    own = {path: digest for path, digest in found.items() if path.startswith("agent/")}
    count = sum(own.get(path) != digest for path, digest in wanted.items())
    count += sum(path not in wanted for path in own)
    if count:
        return Finding(
            "agent",
            WARNING,
            f"slot {runs}: {count} files are not those of this installation",
            "A release brings the agent up to date (fleetling release), at the bench "
            "fleetling install.",
        )
    return Finding("agent", GOOD, f"slot {runs}, as in this installation")


def now() -> datetime:
    """This machine's time."""
    return datetime.now(UTC)
