# SPDX-License-Identifier: MIT
"""`fleetling release`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import rich_click as click
from rich.table import Table

from fleetling import home
from fleetling.cli.options import PASSPHRASE, home_option
from fleetling.cli.screen import errors, output
from fleetling.cli.targets import JSON
from fleetling.errors import FleetlingError
from fleetling.home import OFFLINE_ROLES, ONLINE_ROLES, Home, write_private
from fleetling.release import build as builder
from fleetling.release import keys
from fleetling.release.listing import changes, releases
from fleetling.release.packing import Packed
from fleetling.release.repository import Repository
from fleetling.release.serve import make_server
from fleetling.release.verify import verify

ROLES = (*OFFLINE_ROLES, *ONLINE_ROLES)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
PRODUCT = click.option("--product", required=True, metavar="NAME", help="Whose release it is.")
VERSION = click.option("--version", required=True, metavar="V", help="1 to 4 numbers with dots.")
SECURITY = click.option(
    "--security",
    type=click.IntRange(0, 0x7FFFFFFF),
    default=0,
    show_default=True,
    help="A counter; boards that confirmed it never go below.",
)
REQUIRES = click.option(
    "--requires",
    multiple=True,
    metavar="NAME=V",
    help="Least version of micropython, agent, app or firmware.",
)
BUILT = click.option(
    "--built", type=int, help="Unix time of the build; else SOURCE_DATE_EPOCH, else now."
)
LAYOUT = click.option(
    "--layout", default="4mb", show_default=True, help="The boards' partition table."
)


def say(text: str) -> None:
    output.print(text, highlight=False, markup=False, soft_wrap=True)


def _near(path: Path) -> str:
    """A path as a person would type it here."""
    here = Path.cwd()
    return f"./{path.relative_to(here)}" if path.is_relative_to(here) else str(path)


def _open(place: Home, signers: Iterable[keys.CryptoSigner] = ()) -> Repository:
    return Repository(place.repository, signers, expiry=place.expiry())


def _load(paths: Iterable[Path]) -> list[keys.CryptoSigner]:
    """The private keys in these files, the passphrase asked for once where one needs it."""
    found, passphrase = [], None
    for path in paths:
        if passphrase is None and b"ENCRYPTED" in path.read_bytes():
            passphrase = _passphrase(path)
        found.append(keys.load_private(path, passphrase))
    return found


def _passphrase(path: Path) -> bytes:
    given = os.environ.get(PASSPHRASE)
    if given is None:
        if not sys.stdin.isatty():
            raise FleetlingError(
                f"The key {path.name} has a passphrase, and nobody is there to ask",
                f"Set {PASSPHRASE}.",
            )
        given = click.prompt(f"Passphrase for {path.name}", hide_input=True)
    return str(given).encode()


def _online(place: Home) -> Repository:
    return _open(place, _load(path for role in ONLINE_ROLES for path in place.signing_keys(role)))


def _show_signatures(repository: Repository) -> bool:
    """Says how far what is staged is signed; whether all of it is."""
    states = repository.signatures()
    for state in states:
        missing = ", ".join(one[:8] for one in state.missing)
        end = f"; missing: one of {missing}" if missing else ""
        say(f"  {state.role} {state.version}: {state.done} of {state.needed} signatures{end}")
    return all(state.complete for state in states)


@click.group("release")
def command() -> None:
    """Build, sign and publish releases of firmware and applications (docs/releases.md)."""


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
    if _open(place).current("root") is not None:  # before anything is asked
        raise FleetlingError(
            f"{place.repository} already holds a repository",
            "Nothing was changed. One that was begun: fleetling release sign, then publish.",
        )
    loaded = iter(_load(path for role in ROLES for path in paths[role]))
    chosen: dict[str, list[keys.CryptoSigner | keys.Key]] = {
        role: [*[next(loaded) for _ in paths[role]], *[key for name, key in more if name == role]]
        for role in ROLES
    }
    made = Repository.create(place.repository, chosen, least, expiry=place.expiry())
    say(f"The repository is in {_near(place.repository)}/")
    if all(state.complete for state in made.signatures()):
        made.publish()
        say("Its root and targets are signed and published: fleetling release build --help")
    else:
        _show_signatures(made)
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
    repository = _open(home.find(folder))
    repository.set_product(name, [keys.load_public(path) for path in given], threshold)
    say(f"The product {name} is staged: fleetling release sign")


@command.group()
def build() -> None:
    """Build a release and stage it."""


@build.command()
@click.argument("image", type=FILE)
@PRODUCT
@VERSION
@SECURITY
@REQUIRES
@BUILT
@click.option("--board", multiple=True, metavar="B", help="A build that may take it; else any.")
@click.option("--slot", metavar="BYTES", help="Of the boards' slots, such as 0x180000.")
@LAYOUT
@click.option("--base", multiple=True, metavar="V", help="Make a delta from it; else the last 3.")
@home_option
def firmware(
    image: Path,
    product: str,
    version: str,
    security: int,
    requires: tuple[str, ...],
    built: int | None,
    board: tuple[str, ...],
    slot: str | None,
    layout: str,
    base: tuple[str, ...],
    folder: Path | None,
) -> None:
    """Build firmware of IMAGE: an app image, or a download of MicroPython."""
    repository = _open(home.find(folder))
    report = builder.build_firmware(
        repository,
        image,
        product,
        version,
        slot=builder.slot_size(layout) if slot is None else _bytes(slot),
        security=security,
        boards=board,
        requires=builder.read_requires(requires),
        bases=base or None,
        built=built,
    )
    python = f", MicroPython {report.micropython}" if report.micropython else ""
    say(f"{report.path}  {report.chip}{python}")
    table = _table("", "bytes", "share", "")
    table.add_row("image", f"{report.image:,}", _share(report.image, report.slot), "of the slot")
    table.add_row(
        "payload", f"{report.packed:,}", _share(report.packed, report.image), "of the image"
    )
    for name, delta in report.deltas.items():
        table.add_row(f"delta from {name}", *_delta(delta, report.packed))
    output.print(table)
    _next()


def _delta(delta: Packed, whole: int) -> tuple[str, str, str]:
    if not delta.data:
        return "", "", "not kept: too dense for boards"
    end = "of the payload, kept" if delta.kept else "of the payload, not kept"
    return f"{delta.length:,}", _share(delta.length, whole), end


def _bytes(text: str) -> int:
    try:
        size = int(text, 0)
    except ValueError:
        size = 0
    if size <= 0:
        raise FleetlingError(f"{text!r} is no size", "Give bytes, such as 0x180000 or 1572864.")
    return size


@build.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@PRODUCT
@VERSION
@SECURITY
@REQUIRES
@BUILT
@click.option("--provides", multiple=True, metavar="MODULE", help="The firmware has it, too.")
@LAYOUT
@home_option
def app(
    source: Path,
    product: str,
    version: str,
    security: int,
    requires: tuple[str, ...],
    built: int | None,
    provides: tuple[str, ...],
    layout: str,
    folder: Path | None,
) -> None:
    """Build the application in the folder SOURCE, with this installation's agent."""
    repository = _open(home.find(folder))
    report = builder.build_app(
        repository,
        source,
        product,
        version,
        security=security,
        requires=builder.read_requires(requires),
        provides=provides,
        layout=layout,
        built=built,
    )
    say(f"{report.path}  {report.files} files of {report.most_files}")
    table = _table("", "bytes", "share", "")
    for name, size, of, what in (
        ("slot", report.image, report.space, "of the boards' file system, where three slots are"),
        ("manifest", report.manifest, report.most_manifest, "of what boards read"),
        ("bundle", report.packed, report.image, "of the slot"),
    ):
        table.add_row(name, f"{size:,}", _share(size, of), what)
    output.print(table)
    for path in report.native:
        say(f"{path} travels as source: the board compiles its machine code")
    if report.left_out:
        say(f"Stays here: {', '.join(report.left_out)}")
    _next()


def _next() -> None:
    say("Staged. Next: fleetling release sign, then fleetling release publish")


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, show_header=any(names))
    for number, name in enumerate(names):
        table.add_column(name, justify="right" if 0 < number < 3 else "left", overflow="fold")
    return table


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


@command.command()
@click.option("--with", "given", multiple=True, type=FILE, help="One more private key, in PEM.")
@click.option("--renew", is_flag=True, help="Renew what has less than half of its life left.")
@home_option
def sign(given: tuple[Path, ...], renew: bool, folder: Path | None) -> None:
    """Sign what is staged, with the offline keys that are here. Needs no network."""
    place = home.find(folder)
    repository = _open(place)
    if renew:
        repository.renew()
    pending = repository.pending()
    if not pending:
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
    signers = _load([*wanted, *given])
    if not signers:
        raise FleetlingError(
            "No key that may sign is here", "Sign where secrets/targets.key is, or give --with."
        )
    repository = _open(place, signers)
    repository.sign()
    done = _show_signatures(repository)
    say("Next: fleetling release publish" if done else "Others still have to sign.")


@command.command()
@home_option
def publish(folder: Path | None) -> None:
    """Publish what is signed, with the online keys. After an interruption, run it again."""
    repository = _online(home.find(folder))
    done = repository.publish()
    say(f"Published: {', '.join(done)}" if done else "Nothing is staged; nothing was changed.")
    _warn(repository)


@command.command()
@home_option
def refresh(folder: Path | None) -> None:
    """Renew timestamp and snapshot. Run it from a timer, once a day."""
    repository = _online(home.find(folder))
    repository.refresh()
    _warn(repository)


def _warn(repository: Repository) -> None:
    for role, days in repository.expiring():
        errors.print(
            f"{role} runs out in {days} days: fleetling release sign --renew, then publish",
            highlight=False,
        )


@command.command("list")
@JSON
@home_option
def list_(as_json: bool, folder: Path | None) -> None:
    """The releases, published and staged."""
    rows = releases(_open(home.find(folder)))
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
    for path in _open(home.find(folder)).yank(product, version, kind):
        say(f"{path} goes")
    _next()


@command.command()
@click.argument("role")
@click.option("--key", "given", type=FILE, help="The new public key, in PEM; else one is made.")
@click.option("--old", default="", metavar="ID", help="Which key goes, where there are several.")
@home_option
def rotate(role: str, given: Path | None, old: str, folder: Path | None) -> None:
    """Give ROLE (root, targets, snapshot, timestamp or a product) a new key in place of one."""
    place = home.find(folder)
    repository = _open(place)
    repository.required(role)
    if given is not None:
        repository.rotate(role, keys.load_public(given), old)
    else:
        before = place.signing_keys(role if role in ROLES else "targets")
        locked = [path for path in before if b"ENCRYPTED" in path.read_bytes()]
        passphrase = _passphrase(locked[0]) if locked else None
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
        say(f"The new key is {_near(path)}: keep a copy where no machine reaches it.")
    _next()
    once = "The old key signs this once more" if role == "root" else "The old key signs no more"
    say(f"{once}; remove its file when that is published.")


@command.command("verify")
@home_option
def verify_(folder: Path | None) -> int:
    """Verify all that is published, as a client does, and more closely."""
    checked = verify(_open(home.find(folder)))
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
