# SPDX-License-Identifier: MIT
"""Gives boards what they leave the bench with: a claim of their own, or a ready identity.

A board's folder appears whole, after the hub's list knows the board: whatever is cut, running the
same command again goes on where it was, and no id is given two claims.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from fleetling import files
from fleetling.errors import FleetlingError
from fleetling.home import Home, whole_folder, write_private
from fleetling.image.nvs import Provision, build_nvs, factory_values
from fleetling.pki import Authority, Identity, check_device_id, load_certificate
from fleetling.registry import Store
from fleetling.update.repository import anchor

__all__ = ["Order", "Provisioner", "check_orders", "made_for", "read_csv", "ready_identity"]

COLUMNS = ("id", "ssid", "password")
IMAGE = "nvs.bin"
CARD = "board.json"


@dataclass(frozen=True)
class Order:
    """A board to provision; `wifi` is [(ssid, password)], empty for the fleet's own."""

    device_id: str
    wifi: list[tuple[str, str]] = field(default_factory=list)


def check_orders(orders: list[Order]) -> None:
    """Looks at all of them before the first key is made."""
    for order in orders:
        check_device_id(order.device_id)
        for ssid, password in order.wifi:
            if not 0 < len(ssid.encode()) <= 32 or len(password.encode()) > 63:
                raise FleetlingError(
                    f"The network of {order.device_id} cannot be joined",
                    "A name has 1 to 32 bytes, a password at most 63.",
                )
    twice = [name for name, count in Counter(o.device_id for o in orders).items() if count > 1]
    if twice:
        raise FleetlingError(
            f"{', '.join(sorted(twice))} is there twice", "Every board needs an id of its own."
        )


def read_csv(path: Path) -> list[Order]:
    """The boards of a CSV file with a header: id, and if wanted ssid and password.

    Raises:
        FleetlingError: what is wrong, with the number of the line.
    """
    hint = f"The first line names the columns: {', '.join(COLUMNS)}. Only id is needed."
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, restkey="?", restval="")
            names = rows.fieldnames or []
            unknown = [name for name in names if name not in COLUMNS]
            if "id" not in names or unknown:
                what = f"unknown columns {unknown}" if unknown else "no column id"
                raise FleetlingError(f"{path}: {what}", hint)
            orders = [_order(path, rows.line_num, row) for row in rows if any(row.values())]
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise FleetlingError(f"{path} cannot be read: {e}", hint) from e
    if not orders:
        raise FleetlingError(f"{path} names no board", hint)
    return orders


def _order(path: Path, line: int, row: dict[str, str]) -> Order:
    if "?" in row:
        raise FleetlingError(f"{path}, line {line}: too many fields", "Quote what has a comma.")
    try:
        device_id = check_device_id(row["id"].strip())
    except FleetlingError as e:
        raise FleetlingError(f"{path}, line {line}: {e.message}", e.hint) from e
    ssid = row.get("ssid", "")
    if row.get("password") and not ssid:
        raise FleetlingError(f"{path}, line {line}: a password without ssid", "Give both.")
    return Order(device_id, [(ssid, row.get("password", ""))] if ssid else [])


def made_for(home: Home, device_id: str) -> dict[str, bytes]:
    """What `fleetling provision` made for a board, by NVS key; keys are among it.

    Raises:
        FleetlingError: it was not provisioned.
    """
    path = home.boards / check_device_id(device_id) / IMAGE
    if not path.is_file():
        raise FleetlingError(
            f"{device_id} is not provisioned", f"First: fleetling provision {device_id}"
        )
    return factory_values(path.read_bytes())


def ready_identity(device_id: str, certificate: Path, key: Path) -> Identity:
    """A certificate and key from another PKI, as a board's identity.

    Raises:
        FleetlingError: they are not what a board can use, or not for this id.
    """
    try:
        made = load_certificate(certificate.read_bytes(), str(certificate))
        private = load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError, TypeError) as e:
        raise FleetlingError(
            f"{key} cannot be read: {e}", "Give a private key in PEM, without a passphrase."
        ) from e
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(
        private.curve, ec.SECP256R1
    ):
        raise FleetlingError(f"{key} is not a P-256 key", "Boards use ECDSA on P-256.")
    if made.public_key() != private.public_key():
        raise FleetlingError(
            f"{certificate} is not for the key in {key}", "Give the two that belong together."
        )
    names = [n.value for n in made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [device_id]:
        raise FleetlingError(
            f"{certificate} is for {names}, not for {device_id!r}",
            "The CN of a board's certificate is its id.",
        )
    return Identity(made, private)


class Provisioner:
    """Provisions boards of a fleet.

    Args:
        home: the fleet's folder.
        claims: signs claims; None where only ready identities are stored.
        store: the hub's database.

    Attributes:
        repository: URL of the releases, "" where boards are to take none.

    Raises:
        FleetlingError: the fleet's repository is named, and not there.
    """

    def __init__(self, home: Home, claims: Authority | None, store: Store) -> None:
        self._home = home
        self._claims = claims
        self._store = store
        self._ca = home.certificate("fleet-ca").public_bytes(Encoding.DER)
        self.repository, self._root = anchor(home)

    def path(self, device_id: str) -> Path:
        return self._home.boards / device_id

    def done(self, device_id: str) -> bool:
        return self.path(device_id).is_dir()

    def run(
        self, orders: Iterable[Order], *, again: bool = False
    ) -> Generator[tuple[Order, bool]]:
        """Provisions one board after the other and yields (order, whether it was new).

        Args:
            orders: checked by `check_orders`.
            again: makes a new claim for boards that have one; the hub will sign once more.
        """
        for order in orders:
            with self._alone():
                new = again or not self.done(order.device_id)
                if new:
                    if self._store.expect([order.device_id]) == 0:
                        self._check_not_revoked(order.device_id)
                        if again:
                            self._store.allow_again(order.device_id)
                    self._make(order, None)
            yield order, new

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two that provision one board at once would mix its files."""
        self._home.boards.mkdir(mode=0o700, exist_ok=True)
        with files.alone(self._home.boards):
            yield

    def _check_not_revoked(self, device_id: str) -> None:
        if self._store.device(device_id).revoked_at is not None:
            raise FleetlingError(
                f"{device_id} was revoked",
                f"If it may come back: fleetling device allow-enrol {device_id}",
            )

    def store_ready(self, order: Order, identity: Identity) -> None:
        """Provisions one board with an identity from another PKI."""
        with self._alone():
            if self.done(order.device_id):
                raise FleetlingError(
                    f"{order.device_id} is provisioned already",
                    f"Remove {self.path(order.device_id)} to do it anew.",
                )
            self._make(order, identity)

    def _make(self, order: Order, identity: Identity | None) -> None:
        home, device_id = self._home, order.device_id
        claim = None
        if identity is None:
            assert self._claims is not None
            claim = self._claims.claim(device_id, home.days("claim"))
        image = build_nvs(
            Provision(
                device_id,
                self._ca,
                home.text("broker"),
                order.wifi or home.wifi(),
                enrol=home.text("claims") if claim else "",
                claim=claim,
                identity=identity,
                ntp=home.text("ntp"),
                repository=self.repository,
                root=self._root,
            )
        )
        card = {
            "id": device_id,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "kind": "claim" if claim else "identity",
            "image": IMAGE,
            "sha256": hashlib.sha256(image).hexdigest(),
        }
        path = self.path(device_id)
        old = path.with_name(f".{device_id}.old")
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        with whole_folder(path) as new:
            write_private(new / IMAGE, image)
            write_private(new / CARD, json.dumps(card, indent=1).encode())
        shutil.rmtree(old, ignore_errors=True)
