# SPDX-License-Identifier: MIT
"""`fleetling release sign`, `publish`, `refresh` and `rotate`: what needs keys."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from fleetling import home
from fleetling.cli.options import ask_passphrase, home_option
from fleetling.cli.releasing import (
    FILE,
    ROLES,
    load,
    near,
    online,
    open_repository,
    say,
    say_next,
    show_signatures,
)
from fleetling.cli.screen import errors
from fleetling.errors import FleetlingError
from fleetling.home import write_private
from fleetling.release import keys
from fleetling.release.listing import changes
from fleetling.release.repository import Repository

__all__ = ["publish", "refresh", "rotate", "sign"]


@click.command()
@click.option("--with", "given", multiple=True, type=FILE, help="One more private key, in PEM.")
@click.option("--renew", is_flag=True, help="Renew what has less than half of its life left.")
@home_option
def sign(given: tuple[Path, ...], renew: bool, folder: Path | None) -> None:
    """Sign what is staged, with the offline keys that are here. Needs no network."""
    place = home.find(folder)
    repository = open_repository(place)
    if renew:
        repository.renew()
    pending = repository.pending()
    if not pending:
        repository.required("root")
        say("Nothing is staged.")
        return
    for change in changes(repository):  # before the passphrase is asked for
        say(f"  {change}")
    wanted = dict.fromkeys(
        path
        for role in pending
        for name in (role, *([] if role in ROLES else ["targets"]))
        for path in place.signing_keys(name)
    )
    signers = load([*wanted, *given])
    if not signers:
        raise FleetlingError(
            "No key that may sign is here", "Sign where secrets/targets.key is, or give --with."
        )
    repository = open_repository(place, signers)
    repository.sign()
    done = show_signatures(repository)
    say("Next: fleetling release publish" if done else "Others still have to sign.")


@click.command()
@home_option
def publish(folder: Path | None) -> None:
    """Publish what is signed, with the online keys. After an interruption, run it again."""
    repository = online(home.find(folder))
    done = repository.publish()
    say(f"Published: {', '.join(done)}" if done else "Nothing is staged; nothing was changed.")
    _warn(repository)


@click.command()
@home_option
def refresh(folder: Path | None) -> None:
    """Renew timestamp and snapshot. Run it from a timer, once a day."""
    repository = online(home.find(folder))
    repository.refresh()
    _warn(repository)


def _warn(repository: Repository) -> None:
    for role, days in repository.expiring():
        errors.print(
            f"{role} runs out in {days} days: fleetling release sign --renew, then publish",
            highlight=False,
        )


@click.command()
@click.argument("role")
@click.option("--key", "given", type=FILE, help="The new public key, in PEM; else one is made.")
@click.option("--old", default="", metavar="ID", help="Which key goes, where there are several.")
@home_option
def rotate(role: str, given: Path | None, old: str, folder: Path | None) -> None:
    """Give ROLE (root, targets, snapshot, timestamp or a product) a new key in place of one."""
    place = home.find(folder)
    repository = open_repository(place)
    repository.required(role if role in ROLES else "root")  # before a product's name is doubted
    repository.required(role)
    if given is not None:
        repository.rotate(role, keys.load_public(given), old)
    else:
        before = place.signing_keys(role if role in ROLES else "targets")
        locked = [path for path in before if b"ENCRYPTED" in path.read_bytes()]
        passphrase = ask_passphrase(locked[0].name) if locked else None
        for path in locked:  # a slip of the finger must not lock the new key
            keys.load_private(path, passphrase)
        new = keys.make_signer()
        path = place.folder / "secrets" / f"{role}-{new.public_key.keyid[:8]}.key"
        write_private(path, keys.private_pem(new, passphrase))
        try:
            repository.rotate(role, new.public_key, old)
        except FleetlingError:
            path.unlink()
            raise
        say(f"The new key is {near(path)}: keep a copy where no machine reaches it.")
    say_next()
    once = "The old key signs this once more" if role == "root" else "The old key signs no more"
    say(f"{once}; remove its file when that is published.")
