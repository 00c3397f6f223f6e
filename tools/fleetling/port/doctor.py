# SPDX-License-Identifier: MIT
"""Looks a board over, and what it needs around it: broker, certificates, repository.

What cannot be looked at is said with its reason, and counts as nothing. Sockets and requests are
here; what they mean is decided on values.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urljoin

from cryptography.hazmat.primitives.serialization import Encoding

from fleetling import device
from fleetling.errors import FleetlingError
from fleetling.home import Home
from fleetling.pki import load_certificate
from fleetling.port import checks, slots
from fleetling.port.board import Board
from fleetling.port.checks import GOOD, SKIPPED, WARNING, WRONG, Finding
from fleetling.port.facts import Facts, ask

__all__ = ["board", "fleet", "surroundings"]

TIMEOUT_S = 5.0
LONGEST = 65536
RENEW = "Boards renew it by themselves while they reach the hub: fleetling hub."
CLAIM = "fleetling provision ID --again, then fleetling install --id ID."


def board(it: Board, now: datetime) -> tuple[Facts, list[Finding]]:
    """What the board itself shows."""
    facts = ask(it)
    found = [check(facts) for check in checks.BEFORE]
    if found[0].state == WRONG:
        return facts, found
    found += [checks.clock(facts, now), checks.mode(facts), *_files(it, facts)]
    found.append(checks.identity(facts))
    if facts.text("id"):
        remedy = RENEW if facts.said.get("own_key") else CLAIM
        used = facts.data("certificate") or facts.data("crt") or facts.data("claim_crt")
        found.append(checks.certificate("certificate", used, now, remedy=remedy))
        found.append(
            checks.certificate(
                "trust-anchor", facts.data("ca"), now, remedy="The fleet needs a new CA."
            )
        )
    return facts, found


def _files(it: Board, facts: Facts) -> Iterator[Finding]:
    wanted = {
        name: hashlib.sha256(data).hexdigest() for name, data in device.board_files().items()
    }
    there = {name: it.sha256("/" + name) for name in wanted}
    yield checks.files({n: found[1] if found else None for n, found in there.items()}, wanted)
    packs = {}
    for name in slots.NAMES:
        if it.sha256(f"/slots/{name}.pack"):
            packs[name] = slots.files_of(it, name)
    runs = slots.running(facts.number("slot"))
    if runs not in packs and packs:
        runs = next(iter(packs))  # boot.py takes the next good one
    yield checks.agent(packs, runs, slots.wanted_agent())


def surroundings(facts: Facts, now: datetime) -> list[Finding]:
    """What the board dials, dialled from here with what it trusts."""
    if not facts.text("id"):
        why = "it was never provisioned"
        return [Finding("broker", SKIPPED, why), Finding("repository", SKIPPED, why)]
    broker = facts.text("broker")
    found = [_dial("broker", broker, facts.data("ca"), now)]
    if facts.text("enrol") and not facts.said.get("own_key"):
        found.append(_dial("claims-door", facts.text("enrol"), facts.data("ca"), now))
    if facts.text("last_error"):
        found.append(
            Finding(
                "link",
                WARNING,
                f"the board's last error: {facts.text('last_error')}",
                "docs/errors.md says what it means.",
            )
        )
    repo = facts.text("repo")
    if not repo:
        text = "it was provisioned without one, and takes no updates"
        hint = "Name it in fleetling.toml (repo), then fleetling provision ID --again."
        return [*found, Finding("repository", WARNING, text, hint)]
    return [*found, _repository(repo, facts.data("ca"), now)]


def fleet(home: Home | None, facts: Facts) -> list[Finding]:
    """The board against the fleet's folder: whether the two belong together."""
    if home is None:
        return [Finding("fleet", SKIPPED, "no fleet here: --home, or its folder")]
    name = facts.text("id")
    if not name:
        return []
    ours = home.certificate("fleet-ca").public_bytes(Encoding.DER)
    if facts.data("ca") != ours:
        return [
            Finding(
                "fleet",
                WRONG,
                f"{name} trusts another fleet than {home.text('name')!r}",
                "Use that fleet's folder (--home), or provision the board for this one.",
            )
        ]
    if facts.text("broker") != home.text("broker"):
        return [
            Finding(
                "fleet",
                WARNING,
                f"provisioned for {facts.text('broker')}; the fleet has {home.text('broker')}",
                "Move boards with fleetling config set --fleet broker=HOST:PORT.",
            )
        ]
    return [Finding("fleet", GOOD, f"{name} belongs to {home.text('name')}")]


def _dial(check: str, endpoint: str, ca: bytes, now: datetime) -> Finding:
    """A TLS handshake as the board makes it, up to the certificate that it would show."""
    host, _, port = endpoint.rpartition(":")
    try:
        context = _trusting(ca)
    except (FleetlingError, ssl.SSLError) as e:
        return Finding(check, WRONG, f"the board's trust anchor is damaged: {e}", "Provision it.")
    try:
        with (
            socket.create_connection((host, int(port)), TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            shown = secure.getpeercert(binary_form=True) or b""
    except ssl.SSLCertVerificationError as e:
        return Finding(
            check,
            WRONG,
            f"{endpoint}: {e.verify_message}",
            "Issue it anew for the name that boards dial: fleetling broker config.",
        )
    except ssl.SSLError as e:
        return Finding(check, WRONG, f"{endpoint} speaks no TLS: {e.reason}", "Check its port.")
    except (OSError, ValueError) as e:
        return Finding(
            check,
            WRONG,
            f"{endpoint} is out of reach from here: {e}",
            "Start it (fleetling broker run), or look at the firewall between.",
        )
    until = checks.certificate(check, shown, now, remedy="fleetling broker config")
    return Finding(check, until.state, f"{endpoint}, certificate {until.text}", until.remedy)


def _trusting(ca: bytes) -> ssl.SSLContext:
    """What a board trusts: the fleet's CA alone."""
    pem = load_certificate(ca, "the trust anchor").public_bytes(Encoding.PEM)
    return ssl.create_default_context(cadata=pem.decode())


def _repository(url: str, ca: bytes, now: datetime) -> Finding:
    """Whether its timestamp can be fetched, and is fresh; boards verify the signatures."""
    address = urljoin(url.rstrip("/") + "/", "metadata/timestamp.json")
    remedy = "Serve the folder repository/ there: docs/releases.md"
    if not address.startswith(("http://", "https://")):
        return Finding("repository", WRONG, f"{url} is no web address", "Correct repo.")
    try:
        context = _trusting(ca) if address.startswith("https://") else None
        with urllib.request.urlopen(  # noqa: S310 - checked
            address, timeout=TIMEOUT_S, context=context
        ) as answer:
            signed = json.loads(answer.read(LONGEST))["signed"]
        until = datetime.fromisoformat(signed["expires"])
        if until.tzinfo is None:
            raise ValueError
    except FleetlingError as e:
        return Finding("repository", WRONG, f"the board's trust anchor: {e}", "Provision it.")
    except (urllib.error.URLError, http.client.HTTPException, OSError) as e:
        return Finding("repository", WRONG, f"{address}: {getattr(e, 'reason', e)!s}", remedy)
    except (ValueError, KeyError, TypeError, RecursionError):
        return Finding("repository", WRONG, f"{address} is no TUF metadata", remedy)
    if until < now:
        return Finding(
            "repository",
            WRONG,
            f"{url}: its timestamp expired on {until:%Y-%m-%d %H:%M}",
            "Boards take nothing from it until it is signed again: fleetling release refresh.",
        )
    return Finding("repository", GOOD, f"{url}, fresh until {until:%Y-%m-%d %H:%M}")
