# SPDX-License-Identifier: MIT
"""`fleetling release`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path

import rich_click as click
from rich.table import Table

from fleetling import home
from fleetling.cli.options import home_option
from fleetling.cli.release_build import build
from fleetling.cli.release_sign import publish, refresh, rotate, sign
from fleetling.cli.releasing import (
    FILE,
    ROLES,
    load,
    near,
    open_repository,
    say,
    say_next,
    show_signatures,
)
from fleetling.cli.screen import output
from fleetling.cli.targets import JSON
from fleetling.errors import FleetlingError
from fleetling.release import keys
from fleetling.release.listing import releases
from fleetling.release.repository import Repository
from fleetling.release.serve import make_server
from fleetling.release.verify import verify

__all__ = ["command"]


@click.group("release")
def command() -> None:
    """Build, sign and publish releases of firmware and applications (docs/releases.md)."""


for part in (build, sign, publish, refresh, rotate):
    command.add_command(part)


@command.command()
@click.option("--key", "given", multiple=True, metavar="ROLE=FILE", help="One more public key.")
@click.option("--threshold", multiple=True, metavar="ROLE=N", help="How many keys have to sign.")
@home_option
def init(given: tuple[str, ...], threshold: tuple[str, ...], folder: Path | None) -> None:
    """Make the repository, with the keys that `fleetling init` made."""
    place = home.find(folder)
    more = [(role, keys.load_public(Path(file))) for role, file in _pairs(given, "FILE")]
    least = {role: _number(text) for role, text in _pairs(threshold, "N")}
    paths = {role: place.signing_keys(role)[:1] for role in ROLES}
    if open_repository(place).current("root") is not None:  # before anything is asked
        raise FleetlingError(
            f"{place.repository} already holds a repository",
            "Nothing was changed. One that was begun: fleetling release sign, then publish.",
        )
    loaded = iter(load(path for role in ROLES for path in paths[role]))
    chosen: dict[str, list[keys.CryptoSigner | keys.Key]] = {
        role: [*[next(loaded) for _ in paths[role]], *[key for name, key in more if name == role]]
        for role in ROLES
    }
    made = Repository.create(place.repository, chosen, least, expiry=place.expiry())
    say(f"The repository is in {near(place.repository)}/")
    if all(state.complete for state in made.signatures()):
        made.publish()
        say("Its root and targets are signed and published: fleetling release build --help")
    else:
        show_signatures(made)
        say("The others sign it with `fleetling release sign --with KEY`; then publish it.")


def _pairs(texts: Iterable[str], what: str) -> list[tuple[str, str]]:
    found = []
    for text in texts:
        role, equals, value = text.partition("=")
        if role not in ROLES or not equals or not value:
            raise FleetlingError(
                f"{text!r} is not ROLE={what}", "ROLE is one of " + ", ".join(ROLES) + "."
            )
        found.append((role, value))
    return found


def _number(text: str) -> int:
    if not text.isdecimal():
        raise FleetlingError(f"{text!r} is no number", "Give --threshold ROLE=N.")
    return int(text)


@command.command()
@click.argument("name")
@click.option("--key", "given", multiple=True, type=FILE, help="A public key of its own, in PEM.")
@click.option("--threshold", type=click.IntRange(1), help="How many of them have to sign.")
@home_option
def product(
    name: str, given: tuple[Path, ...], threshold: int | None, folder: Path | None
) -> None:
    """Add the product NAME, or give it other keys. Without --key it is signed as targets are."""
    repository = open_repository(home.find(folder))
    repository.set_product(name, [keys.load_public(path) for path in given], threshold)
    say(f"The product {name} is staged: fleetling release sign")


@command.command("list")
@JSON
@home_option
def list_(as_json: bool, folder: Path | None) -> None:
    """The releases, published and staged."""
    rows = releases(open_repository(home.find(folder)))
    if as_json:
        click.echo(json.dumps([row.document() for row in rows]))
        return
    if not rows:
        say("There are no releases yet: fleetling release build --help")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("release", "kind", "state", "bytes", "deltas", "security", "built (UTC)"):
        table.add_column(name, justify="right" if name in ("bytes", "deltas") else "left")
    for row in rows:
        built = time.strftime("%Y-%m-%d", time.gmtime(row.built))
        deltas = str(len(row.deltas) or "")
        name = f"{row.product}/{row.version}"
        table.add_row(
            name, row.kind, row.state, f"{row.length:,}", deltas, str(row.security), built
        )
    output.print(table)


@command.command()
@click.argument("product")
@click.argument("version")
@click.option("--kind", type=click.Choice(["app", "firmware"]), help="Only that, where both are.")
@home_option
def yank(product: str, version: str, kind: str | None, folder: Path | None) -> None:
    """Take back the release VERSION of PRODUCT. Boards that have it keep it."""
    for path in open_repository(home.find(folder)).yank(product, version, kind):
        say(f"{path} goes")
    say_next()


@command.command("verify")
@home_option
def verify_(folder: Path | None) -> int:
    """Verify all that is published, as a client does, and more closely."""
    checked = verify(open_repository(home.find(folder)))
    for problem in checked.problems:
        say(problem)
    say(
        f"{checked.metadata} files of metadata, {checked.targets} of targets, {checked.bytes:,} "
        f"bytes; problems: {len(checked.problems) or 'none'}"
    )
    return 1 if checked.problems else 0


@command.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@home_option
def serve(port: int, host: str, folder: Path | None) -> None:
    """Serve the repository over HTTP, for the bench, until Ctrl-C."""
    place = home.find(folder)
    with make_server(place.repository, host, port) as server:
        say(f"http://{host}:{server.server_address[1]}/ is {place.repository}; Ctrl-C ends it.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("")
