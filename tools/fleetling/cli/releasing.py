# SPDX-License-Identifier: MIT
"""What the subcommands of `fleetling release` share: the repository, its keys, what is said."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import rich_click as click

from fleetling.cli.options import ask_passphrase
from fleetling.cli.screen import output
from fleetling.home import OFFLINE_ROLES, ONLINE_ROLES, Home
from fleetling.release import keys
from fleetling.release.repository import Repository

__all__ = [
    "FILE",
    "ROLES",
    "load",
    "near",
    "online",
    "open_repository",
    "say",
    "say_built",
    "say_next",
    "show_signatures",
]

ROLES = (*OFFLINE_ROLES, *ONLINE_ROLES)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def say(text: str) -> None:
    output.print(text, highlight=False, markup=False, soft_wrap=True)


def near(path: Path) -> str:
    """A path as a person would type it here."""
    here = Path.cwd()
    return f"./{path.relative_to(here)}" if path.is_relative_to(here) else str(path)


def open_repository(place: Home, signers: Iterable[keys.CryptoSigner] = ()) -> Repository:
    return Repository(place.repository, signers, expiry=place.expiry())


def load(paths: Iterable[Path]) -> list[keys.CryptoSigner]:
    """The private keys in these files, the passphrase asked for once where one needs it."""
    found, passphrase = [], None
    for path in paths:
        if passphrase is None and b"ENCRYPTED" in path.read_bytes():
            passphrase = ask_passphrase(path.name)
        found.append(keys.load_private(path, passphrase))
    return found


def online(place: Home) -> Repository:
    return open_repository(
        place, load(path for role in ONLINE_ROLES for path in place.signing_keys(role))
    )


def show_signatures(repository: Repository) -> bool:
    """Says how far what is staged is signed; whether all of it is."""
    states = repository.signatures()
    for state in states:
        missing = ", ".join(one[:8] for one in state.missing)
        end = f"; missing: one of {missing}" if missing else ""
        say(f"  {state.role} {state.version}: {state.done} of {state.needed} signatures{end}")
    return all(state.complete for state in states)


def say_built(repository: Repository, path: str) -> None:
    """What comes after a build: nothing, where it is what was published before."""
    if path.partition("/")[0] in repository.pending():
        say_next()
    else:
        say("This is published already, with the same content. Nothing was staged.")


def say_next() -> None:
    say("Staged. Next: fleetling release sign, then fleetling release publish")
