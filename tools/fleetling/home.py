# SPDX-License-Identifier: MIT
"""A fleet's folder: its settings, its keys, the boards that were provisioned.

    fleetling.toml     settings, for people to read and change
    secrets/           keys and certificates, for their owner alone (0700, files 0600)
    boards/<id>/       what `fleetling provision` made for a board
    broker/            mosquitto's files
    flashed.jsonl      which identity is on which board; only ever grows
    hub.db             the hub's database, unless another one is configured

Keys that sign for the whole fleet are encrypted with a passphrase; those that a service needs to
start without a person are not. Keys are never overwritten: a file is made whole or not at all.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from fleetling import files
from fleetling.endpoint import endpoint
from fleetling.errors import FleetlingError
from fleetling.pki import Authority, Identity, load_certificate, make_authority

__all__ = [
    "SETTINGS",
    "Home",
    "Plan",
    "create",
    "find",
    "renew",
    "whole_folder",
    "write_private",
]

SETTINGS = "fleetling.toml"
UNFINISHED = ".fleetling-init"
# TUF's roles: the first two sign by hand, the others on the machine that publishes.
OFFLINE_ROLES = ("root", "targets")
ONLINE_ROLES = ("snapshot", "timestamp")
DAYS = {"claim": 365, "device": 365, "broker": 825, "staff": 825}

TEMPLATE = """\
# A fleet of Fleetling boards. Made by `fleetling init`; yours to change.
name = {name}

# Where boards, hubs and operators log in, as boards dial it.
broker = {broker}
# Where new boards ask for their certificate.
claims = {claims}
# The boards' time server.
ntp = {ntp}
# Where boards fetch releases, as they dial it; they are provisioned with it.
# repo = "https://updates.example/"
# The hub's database: sqlite:///PATH (relative to this file) or postgresql+psycopg://USER@HOST/NAME
database = "sqlite:///hub.db"

# Releases (docs/releases.md): the folder of their repository, relative to this file, and how many
# days signatures are good for.
# [release]
# repository = "repository"
# [release.expiry]
# root = 365
# targets = 180
# snapshot = 14
# timestamp = 3

# How long certificates are good for, in days.
[days]
claim = {days[claim]}
device = {days[device]}
broker = {days[broker]}
staff = {days[staff]}
"""


@dataclass(frozen=True)
class Plan:
    """What `fleetling init` is told.

    Attributes:
        name: of the fleet; it stands in its certificates.
        broker, claims: "host:port" of the two doors, as boards dial them.
        wifi: [(ssid, password)] for boards that are given no other.
        passphrase: for the keys that sign; None leaves them open.
    """

    name: str
    broker: str
    claims: str
    wifi: list[tuple[str, str]]
    ntp: str = "pool.ntp.org"
    passphrase: bytes | None = None
    hosts: list[str] = field(default_factory=list)


def write_private(path: Path, data: bytes) -> None:
    """Writes a new file that only its owner may read; whole, and on the disk, when it has its
    name.

    Raises:
        FileExistsError: there is one already.
    """
    with files.unfinished(path.parent, data) as new:
        try:
            os.link(new, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from None
            new.rename(path)
    files.sync(path.parent)


def create(folder: Path, plan: Plan) -> Home:
    """Makes a fleet in `folder`.

    Raises:
        FleetlingError: there is one already, or what stands there is in the way.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with files.alone(folder):
        return _create(folder, plan)


def _create(folder: Path, plan: Plan) -> Home:
    unfinished = folder / UNFINISHED
    if (folder / SETTINGS).exists():
        raise FleetlingError(
            f"{folder} already holds a fleet",
            "Nothing was changed. Choose another folder with --home.",
        )
    if (folder / "secrets").exists() and (unfinished / SETTINGS).exists():
        # An init that was cut between its last two steps: the keys are whole.
        _ignore(folder)
        (unfinished / SETTINGS).rename(folder / SETTINGS)
        unfinished.rmdir()
        return Home(folder)
    for name in ("secrets", "hub.db"):
        if (folder / name).exists():
            raise FleetlingError(
                f"{folder} holds {name}, but no {SETTINGS}",
                f"Bring {SETTINGS} back, or choose another folder with --home.",
            )
    if unfinished.exists():
        shutil.rmtree(unfinished)  # an init that was interrupted; nobody has used its keys
    unfinished.mkdir(mode=0o700)
    try:
        _fill(unfinished, plan)
        (unfinished / "secrets").rename(folder / "secrets")
        _ignore(folder)
        # Last, for it is what makes the folder a fleet.
        (unfinished / SETTINGS).rename(folder / SETTINGS)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Home(folder)


def _fill(folder: Path, plan: Plan) -> None:
    secrets = folder / "secrets"
    secrets.mkdir(mode=0o700)
    fleet = make_authority(f"{plan.name} fleet CA")
    claims = make_authority(f"{plan.name} claim CA")
    for name, authority in (("fleet-ca", fleet), ("claim-ca", claims)):
        _keep(secrets, name, authority.identity, plan.passphrase)
    hosts = plan.hosts or sorted({_host(plan.broker), _host(plan.claims)})
    _keep(secrets, "broker", fleet.server(hosts, DAYS["broker"]), None)
    for name in ("hub", "operator"):
        _keep(secrets, name, fleet.client(name, DAYS["staff"]), None)
    for role in (*OFFLINE_ROLES, *ONLINE_ROLES):
        key = ec.generate_private_key(ec.SECP256R1())
        passphrase = plan.passphrase if role in OFFLINE_ROLES else None
        write_private(secrets / f"{role}.key", _pem(key, passphrase))
    write_private(secrets / "wifi.json", json.dumps(plan.wifi).encode())
    # A JSON string is a TOML basic string, but for the surrogates of what is escaped.
    values = {
        name: json.dumps(getattr(plan, name), ensure_ascii=False)
        for name in ("name", "broker", "claims", "ntp")
    }
    (folder / SETTINGS).write_text(TEMPLATE.format(days=DAYS, **values), "utf-8")


def _host(endpoint: str) -> str:
    return endpoint.rpartition(":")[0]


def _pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None) -> bytes:
    how = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def _keep(secrets: Path, name: str, identity: Identity, passphrase: bytes | None) -> None:
    write_private(secrets / f"{name}.pem", identity.certificate_pem)
    write_private(secrets / f"{name}.key", identity.key_pem(passphrase))


def _ignore(folder: Path) -> None:
    """Keeps secrets out of a version control that the folder may be under."""
    path = folder / ".gitignore"
    wanted = ["secrets/", "boards/", "broker/", "hub.db*", f"{UNFINISHED}/"]
    there = path.read_text().splitlines() if path.exists() else []
    missing = [line for line in wanted if line not in there]
    if missing:
        path.write_text("\n".join([*there, *missing]) + "\n")


def find(folder: Path | None) -> Home:
    """The fleet in `folder`; without one, in the current folder or the nearest above.

    Raises:
        FleetlingError: there is none.
    """
    start = Path.cwd() if folder is None else folder
    candidates = [start, *start.resolve().parents] if folder is None else [start]
    for candidate in candidates:
        if (candidate / SETTINGS).is_file():
            return Home(candidate)
    raise FleetlingError(
        f"No fleet in {start}" + (" or above" if folder is None else ""),
        "Make one with `fleetling init`, or say where it is with --home or FLEETLING_HOME.",
    )


class Home:
    """A fleet's folder that is there. `FleetlingError` for whatever is wrong with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._settings: dict[str, Any] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        if self._settings is None:
            path = self.folder / SETTINGS
            try:
                self._settings = tomllib.loads(path.read_text("utf-8"))
            except (OSError, ValueError) as e:
                raise FleetlingError(f"{path} cannot be read: {e}", "Correct it.") from e
        return self._settings

    def text(self, name: str) -> str:
        """A setting that is a text."""
        value = self.settings.get(name)
        if not isinstance(value, str) or not value:
            raise FleetlingError(
                f"{self.folder / SETTINGS} has no {name}", f'Add a line: {name} = "..."'
            )
        return value

    def endpoint(self, name: str) -> tuple[str, int]:
        """A setting "host:port", apart."""
        text = self.text(name)
        try:
            return endpoint(text)
        except FleetlingError as e:
            raise FleetlingError(f"{self.folder / SETTINGS}: {name} is {text!r}", e.hint) from e

    def days(self, what: str) -> int:
        """How many days certificates of a kind are good for."""
        table = self.settings.get("days", {})
        if not isinstance(table, dict):
            raise FleetlingError(
                f"{self.folder / SETTINGS}: days is {table!r}", "Write it as a table: [days]"
            )
        value = table.get(what, DAYS[what])
        if type(value) is not int or not 0 < value <= 36500:
            raise FleetlingError(
                f"{self.folder / SETTINGS}: days.{what} is {value!r}", "Give 1 to 36500."
            )
        return value

    @property
    def boards(self) -> Path:
        return self.folder / "boards"

    @property
    def database(self) -> str:
        """The hub's database as a URL; a relative SQLite path is relative to the fleet."""
        url = self.text("database")
        prefix = "sqlite:///"
        if url.startswith(prefix) and not url.startswith(prefix + "/"):
            return prefix + str((self.folder / url.removeprefix(prefix)).resolve())
        return url

    @property
    def repository(self) -> Path:
        """The folder of the releases' repository."""
        value = self._release().get("repository", "repository")
        if not isinstance(value, str) or not value:
            raise FleetlingError(
                f"{self.folder / SETTINGS}: release.repository is {value!r}", "Give a folder."
            )
        return self.folder / value

    def expiry(self) -> dict[str, int]:
        """How many days signatures of releases are good for, by role, where it is set."""
        found = self._release().get("expiry", {})
        sound = isinstance(found, dict) and all(
            role in (*OFFLINE_ROLES, *ONLINE_ROLES) and type(days) is int and 0 < days <= 3650
            for role, days in found.items()
        )
        if not sound:
            raise FleetlingError(
                f"{self.folder / SETTINGS}: release.expiry is {found!r}",
                "Give 1 to 3650 days to each of root, targets, snapshot, timestamp.",
            )
        return dict(found)

    def _release(self) -> dict[str, Any]:
        found = self.settings.get("release", {})
        return found if isinstance(found, dict) else {}

    def signing_keys(self, role: str) -> list[Path]:
        """The files of a role's keys: the first one, and those that `release rotate` made."""
        secrets = self.folder / "secrets"
        return [path for path in (secrets / f"{role}.key",) if path.is_file()] + sorted(
            secrets.glob(f"{role}-????????.key")
        )

    def wifi(self) -> list[tuple[str, str]]:
        """[(ssid, password)] for boards that are given no other."""
        path = self.secret("wifi.json")
        try:
            found = json.loads(path.read_text("utf-8"))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, list) or not all(map(_is_network, found)):
            raise FleetlingError(
                f"{path} is not a list of networks", 'Write [["name", "password"]].'
            )
        return [(ssid, password) for ssid, password in found]

    def secret(self, name: str) -> Path:
        """The path of a file in secrets/ that must be there."""
        path = self.folder / "secrets" / name
        if not path.is_file():
            raise FleetlingError(
                f"{path} is missing", "Bring it back from your backup; it cannot be made again."
            )
        return path

    def certificate(self, name: str) -> x509.Certificate:
        path = self.secret(f"{name}.pem")
        return load_certificate(path.read_bytes(), str(path))

    def encrypted(self, name: str) -> bool:
        """Whether a key needs the passphrase."""
        return b"ENCRYPTED" in self.secret(f"{name}.key").read_bytes()

    def authority(self, name: str, passphrase: bytes | None) -> Authority:
        """The authority "fleet-ca" or "claim-ca" with its key."""
        path = self.secret(f"{name}.key")
        try:
            key = load_pem_private_key(path.read_bytes(), passphrase)
        except (ValueError, TypeError) as e:
            if not self.encrypted(name):
                raise FleetlingError(
                    f"{path} is not a private key", "Bring it back from your backup."
                ) from e
            raise FleetlingError(
                f"The passphrase does not open {path.name}",
                "Give the one that was set at `fleetling init`.",
            ) from e
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return Authority(Identity(self.certificate(name), key))


def _is_network(found: object) -> bool:
    # A text of two letters would come apart into a name and a password as well.
    whole = isinstance(found, list) and len(found) == 2
    return whole and all(isinstance(text, str) for text in cast(list[object], found))


def renew(home: Home, authority: Authority) -> dict[str, datetime]:
    """Renews the certificates of broker, hub and operator; when each runs out now.

    Their keys stay, so that a cut leaves each with its old certificate or its new one. The
    broker's has the names that it had, and those that fleetling.toml says now.
    """
    hosts = sorted({home.endpoint(name)[0] for name in ("broker", "claims")})
    until = {}
    for name in ("broker", "hub", "operator"):
        home.secret(f"{name}.key")
        days = home.days("broker" if name == "broker" else "staff")
        made = authority.renew(home.certificate(name), days, hosts if name == "broker" else ())
        path = home.secret(f"{name}.pem")
        new = path.with_name(f".{name}.pem.new")
        new.unlink(missing_ok=True)  # of a renewal that was cut
        write_private(new, made.public_bytes(Encoding.PEM))
        new.replace(path)
        until[name] = made.not_valid_after_utc
    return until


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder that appears at `path` with all that is written into it, or not at all."""
    new = path.with_name(f".{path.name}.new")
    if new.exists():
        shutil.rmtree(new)
    new.mkdir(mode=0o700, parents=True)
    try:
        yield new
        new.rename(path)
    finally:
        shutil.rmtree(new, ignore_errors=True)
