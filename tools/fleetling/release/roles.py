# SPDX-License-Identifier: MIT
"""Root, targets and the products' roles of a repository: their keys, next versions, signatures.

The next version of a role is staged, unsigned at first. Whoever has a key signs it there; when
all that it needs have signed, it can be published (repository.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from fleetling.errors import FleetlingError
from fleetling.release import versions
from fleetling.release.authoring import DelegatedRole, Delegations, Metadata, Root, Targets
from fleetling.release.keys import CryptoSigner, Key
from fleetling.release.limits import board_limits, check_keys, check_length
from fleetling.release.store import TOP, Store, parse, serialize

__all__ = ["DAY", "EXPIRY", "Roles", "Signed"]

# Days that a signature is good for. Online roles are renewed by a timer; a short life of theirs is
# what makes a board notice that somebody holds back what is new.
EXPIRY = {"root": 365, "targets": 180, "snapshot": 14, "timestamp": 3}
DAY = 86400
SOON = 1 / 6  # of its life: 60 days of a root's, 30 of a product's
SIGNATURE = 256  # bytes of metadata, at most


@dataclass(frozen=True)
class Signed:
    """How far a staged role is signed: by `done` of `needed` keys.

    Attributes:
        missing: ids of keys that could complete it; none when it is complete.
    """

    role: str
    version: int
    done: int
    needed: int
    missing: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return not self.missing


class Roles:
    """The roles of a repository in a folder.

    Args:
        signers: the private keys at hand; each signs what it may.
        expiry: days by role, EXPIRY where it says nothing.
        clock: the Unix time.
    """

    def __init__(
        self,
        folder: Path,
        signers: Iterable[CryptoSigner] = (),
        *,
        expiry: Mapping[str, int] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = Store(folder)
        self.signers = {signer.public_key.keyid: signer for signer in signers}
        self.expiry = {**EXPIRY, **(expiry or {})}
        self.clock = clock

    @classmethod
    def create(
        cls,
        folder: Path,
        keys: Mapping[str, Sequence[CryptoSigner | Key]],
        thresholds: Mapping[str, int] | None = None,
        *,
        expiry: Mapping[str, int] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Makes a repository: root and targets, staged and signed as far as keys are at hand.

        Args:
            keys: of each of root, targets, snapshot and timestamp; public where that is all.
            thresholds: how many of them have to sign, 1 where it says nothing.

        Raises:
            FleetlingError: there is one already, or the keys do not do.
        """
        signers = [key for row in keys.values() for key in row if isinstance(key, CryptoSigner)]
        made = cls(folder, signers, expiry=expiry, clock=clock)
        if made.current("root") is not None:
            raise FleetlingError(
                f"{folder} already holds a repository",
                "Nothing was changed. One that was begun: fleetling release sign, then publish.",
            )
        root = Root(expires=made.until("root"), consistent_snapshot=True)
        for role in TOP:
            public = {key.keyid: key for key in map(_public, keys[role])}
            threshold = (thresholds or {}).get(role, 1)
            check_keys(role, len(public), threshold)
            for key in public.values():
                root.add_key(key, role)
            root.roles[role].threshold = threshold
        with made.store.exclusive():
            made.stage("targets", Metadata(Targets(expires=made.until("targets"))))
            made.stage("root", Metadata(root))
            made.sign()
        return made

    # --- versions

    def current(self, role: str) -> Metadata[Any] | None:
        """The newest version of a role: staged, or else published."""
        published, staged = self.store.published(role), self.store.staged_role(role)
        if staged is not None and published is not None:
            return staged if staged.signed.version > published.signed.version else published
        return staged or published

    def required(self, role: str) -> Metadata[Any]:
        """As `current`, for a role that must be there."""
        found = self.current(role)
        if found is not None:
            return found
        if role in TOP:
            raise FleetlingError(
                f"There is no repository in {self.store.folder}",
                "Make one with `fleetling release init`.",
            )
        known = ", ".join(self.products()) or "none"
        raise FleetlingError(f"There is no product {role!r}", f"Those that there are: {known}.")

    def products(self) -> list[str]:
        delegations = self.required("targets").signed.delegations
        return sorted(delegations.roles or {}) if delegations else []

    def following(self, role: str) -> Metadata[Any]:
        """The next version of a role, to be changed and staged: a copy without signatures."""
        message = parse(serialize(self.required(role)), role)
        published = self.store.published(role)
        if published is not None and message.signed.version == published.signed.version:
            message.signed.version += 1
        message.signatures.clear()
        return message

    def stage(self, role: str, message: Metadata[Any]) -> None:
        """Stages it; refuses what would be longer than boards read, once it is signed."""
        check_length(role, len(serialize(message)) + SIGNATURE * len(message.signatures or "1"))
        self.store.stage(role, message)

    def pending(self) -> dict[str, Metadata[Any]]:
        """What is staged and was not published, by role.

        Raises:
            FleetlingError: another one published that version.
        """
        found = {}
        for role in self.store.staged_roles():
            staged, published = self.store.staged_role(role), self.store.published(role)
            assert staged is not None
            if published is not None and staged.signed.version <= published.signed.version:
                if serialize(staged) != serialize(published):
                    raise FleetlingError(
                        f"Version {staged.signed.version} of {role} was published by another",
                        f"Remove {self.store.staged}, and build and sign again.",
                    )
                if role != "root":
                    continue  # a publication that was cut behind the timestamp
            found[role] = staged
        return found

    # --- what keys there are

    def set_product(
        self, name: str, keys: Sequence[Key] = (), threshold: int | None = None
    ) -> None:
        """Stages a product, or other keys for it; without keys, those of the role targets.

        Raises:
            FleetlingError: boards would not take it.
        """
        versions.check_product(name)
        root: Root = self.required("root").signed
        chosen = list(keys) or [root.keys[one] for one in root.roles["targets"].keyids]
        least = threshold or (1 if keys else root.roles["targets"].threshold)
        check_keys(name, len({key.keyid for key in chosen}), least)
        with self.store.exclusive():
            message: Metadata[Targets] = self.following("targets")
            delegations = message.signed.delegations or Delegations({}, {})
            message.signed.delegations = delegations
            assert delegations.roles is not None
            # A snapshot lists the role targets as well.
            if name not in delegations.roles and len(delegations.roles) + 2 > _roles():
                raise FleetlingError(
                    f"There are {len(delegations.roles)} products, and boards read no more",
                    "Take one repository for each kind of board.",
                )
            for old in delegations.roles[name].keyids if name in delegations.roles else []:
                message.signed.revoke_key(old, name)
            delegations.roles[name] = DelegatedRole(
                name, [], least, terminating=True, paths=[f"{name}/*"]
            )
            for key in chosen:
                message.signed.add_key(key, name)
            self.stage("targets", message)
            if self.current(name) is None:
                self.stage(name, Metadata(Targets(expires=self.until(name))))
            else:
                self.stage(name, self.following(name))

    def rotate(self, role: str, new: Key, old: str = "") -> None:
        """Stages another key in place of one.

        Args:
            role: one of TUF's four, or a product.
            old: how the id of the key begins that goes; needed where a role has several.
        """
        with self.store.exclusive():
            if role in TOP:
                message: Metadata[Any] = self.following("root")
                gone = _one_key(message.signed.roles[role].keyids, old, role)
                message.signed.revoke_key(gone, role)
                message.signed.add_key(new, role)
                self.stage("root", message)
                if role == "targets":
                    self._rotate_products(gone, new, self.products())
            else:
                self.required(role)
                delegated = self.required("targets").signed.get_delegated_role(role)
                self._rotate_products(_one_key(delegated.keyids, old, role), new, [role])

    def _rotate_products(self, gone: str, new: Key, products: Sequence[str]) -> None:
        message: Metadata[Targets] = self.following("targets")
        for name in products:
            if gone in message.signed.get_delegated_role(name).keyids:
                message.signed.revoke_key(gone, name)
                message.signed.add_key(new, name)
                self.stage(name, self.following(name))
        self.stage("targets", message)

    def renew(self, *, everything: bool = False) -> list[str]:
        """Stages anew what has less than half of its life left: root, targets, products."""
        with self.store.exclusive():
            due = [
                role
                for role in ("root", "targets", *self.products())
                if everything or self.left(role, self.required(role)) < 0.5
            ]
            for role in due:
                self.stage(role, self.following(role))
        return due

    # --- signatures

    def sign(self) -> list[Signed]:
        """Signs what is staged with every key at hand that may; says how far it is."""
        with self.store.exclusive():
            for role, message in self.pending().items():
                fresh = [
                    self.signers[one]
                    for one in self._key_ids(role)
                    if one in self.signers and one not in message.signatures
                ]
                if not fresh:
                    continue
                if not message.signatures:
                    message.signed.expires = self.until(role)
                for signer in fresh:
                    message.sign(signer, append=True)
                self.store.stage(role, message)
        return self.signatures()

    def signatures(self) -> list[Signed]:
        """How far what is staged is signed."""
        found = []
        for role, message in self.pending().items():
            verdicts = self._verdicts(role, message)
            missing = {one for each in verdicts if not each for one in each.unsigned}
            needed = max(each.threshold for each in verdicts)
            done = min(len(each.signed) for each in verdicts)
            found.append(Signed(role, message.signed.version, done, needed, sorted(missing)))
        return found

    def _key_ids(self, role: str) -> list[str]:
        """The keys that may sign the newest version of a role."""
        root: Root = self.required("root").signed
        if role == "root":
            before = self.store.published("root")
            old = before.signed.roles["root"].keyids if before else []
            return list(dict.fromkeys([*root.roles["root"].keyids, *old]))
        if role in TOP:
            return list(root.roles[role].keyids)
        return list(self.required("targets").signed.get_delegated_role(role).keyids)

    def _verdicts(self, role: str, message: Metadata[Any]) -> list[Any]:
        """python-tuf's: one, or for a root those of the old keys and of the new."""
        parents = [self.required("root" if role in TOP else "targets").signed]
        if role == "root":
            before = self.store.published("root")
            parents = [message.signed] + ([before.signed] if before else [])
        signed, signatures = message.signed_bytes, message.signatures
        return [each.get_verification_result(role, signed, signatures) for each in parents]

    # --- time

    def now(self) -> datetime:
        return datetime.fromtimestamp(int(self.clock()), UTC)

    def until(self, role: str) -> datetime:
        """When what is signed now of a role runs out."""
        return self.now() + timedelta(days=self._days(role))

    def expiring(self) -> list[tuple[str, int]]:
        """(role, days) of what is published, signed by hand, and runs out soon."""
        found = []
        for role in ("root", "targets", *self.store.published_products()):
            message = self.store.published(role)
            if message is not None and self.left(role, message) < SOON:
                found.append((role, (message.signed.expires - self.now()).days))
        return found

    def left(self, role: str, message: Metadata[Any]) -> float:
        """How much of its life metadata has left: 1 is all of it."""
        rest: timedelta = message.signed.expires - self.now()
        return rest / timedelta(days=self._days(role))

    def _days(self, role: str) -> int:
        return self.expiry[role if role in TOP else "targets"]


def _roles() -> int:
    return board_limits()["roles"]


def _public(key: CryptoSigner | Key) -> Key:
    return key.public_key if isinstance(key, CryptoSigner) else key


def _one_key(key_ids: Sequence[str], begins: str, role: str) -> str:
    """The one key whose id begins so.

    Raises:
        FleetlingError: there is none, or more than one.
    """
    found = [one for one in key_ids if one.startswith(begins)]
    if len(found) != 1:
        shown = ", ".join(one[:8] for one in key_ids)
        raise FleetlingError(
            f"{role} has the keys {shown}", "Say which of them goes: --old and how its id begins."
        )
    return found[0]
