# SPDX-License-Identifier: MIT
"""Authors a repository of releases (docs/releases.md) with python-tuf.

Invariants:
- releases are staged, and signed there (roles.py); `publish` needs the online keys alone;
- nothing is published that a board would refuse, or that lacks a signature;
- timestamp.json is written last: a cut before it leaves the old state, and `publish` again ends
  in the new one;
- a version that was published is never made anew with other content.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fleetling import device
from fleetling.errors import FleetlingError
from fleetling.release import payload, versions
from fleetling.release.authoring import (
    LengthOrHashMismatchError,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from fleetling.release.bundle import pack_app
from fleetling.release.limits import check_length
from fleetling.release.packing import Packed, pack_firmware
from fleetling.release.roles import DAY, Roles
from fleetling.release.store import TOP, serialize
from fleetling.release.words import (
    Target,
    app_words,
    check_content,
    check_words,
    firmware_words,
    read_path,
)

__all__ = ["Repository"]


class Repository(Roles):
    """A repository in a folder: releases come in, are signed, published, taken back."""

    # --- what is there

    def releases(self, product: str) -> dict[str, TargetFile]:
        """{path: target} of a product, staged ones among them."""
        message = self.current(product) if product in self.products() else None
        return dict(message.signed.targets) if message else {}

    def published_delegations(self) -> list[str]:
        """The products that the published targets role delegates to."""
        message = self.store.published("targets")
        delegations = message.signed.delegations if message else None
        return sorted(delegations.roles or {}) if delegations else []

    def image(self, digest: str) -> bytes | None:
        """The app image with this SHA-256 in hex, of a release that is or was here."""
        for product in self.products():
            for path, target in self.releases(product).items():
                if path.endswith(".fw") and target.custom["sha256"] == digest:
                    data = self.store.content(path, target.hashes["sha256"])
                    return payload.unpack(data) if data else None
        for file in sorted(self.store.yanked.glob("*/*.fw")):
            data = file.read_bytes()
            if payload.read_header(data).sha256.hex() == digest:
                return payload.unpack(data)
        return None

    # --- staging

    def add(self, path: str, data: bytes, words: Mapping[str, Any]) -> None:
        """Stages one target.

        Raises:
            FleetlingError: a board would refuse it, or its version was published before with
                other content.
        """
        target = read_path(path)
        check_words(path, words)
        check_content(path, words, data, self.image)
        if words["built"] > self.clock() + DAY:
            raise FleetlingError(
                f"{path} would be built in the future", "Correct --built, or this machine's clock."
            )
        with self.store.exclusive():
            if target.product not in self.products() or self.current(target.product) is None:
                self.set_product(target.product)
            if self._is_published(target, words):
                return
            message: Metadata[Targets] = self.following(target.product)
            targets = message.signed.targets
            if target.kind == "delta":
                _check_whole(target, words, targets)
            else:
                _check_beside(target, words, targets)
                # What is staged of this version is of another build.
                for other in [each for each in targets if _same_release(each, target)]:
                    del targets[other]
            made = TargetFile.from_data(path, data, ["sha256"])
            made.unrecognized_fields["custom"] = dict(words)
            targets[path] = made
            self.store.stage_file(path, data)
            self.stage(target.product, message)

    def add_app(
        self,
        product: str,
        files: Mapping[str, bytes],
        *,
        built: int | None = None,
        requires: Mapping[str, str] | None = None,
    ) -> str:
        """Stages a slot's files (`fleetling.device.slot_files`) as a release; returns its path."""
        device.pack(dict(files))  # refuses paths that no board keeps
        words = app_words(files, built=self._built(built), requires=requires)
        path = f"{product}/{words['version']}.app"
        self.add(path, pack_app(dict(files)), words)
        return path

    def add_firmware(
        self,
        product: str,
        version: str,
        image: bytes,
        *,
        bases: Iterable[bytes] = (),
        packed: Sequence[Packed] = (),
        built: int | None = None,
        **facts: Any,
    ) -> str:
        """Stages an app image, and deltas where they are worth it; returns the image's path.

        Args:
            bases: images that boards run now.
            packed: its payloads, where they were made before (`pack_firmware`).
            facts: chip, and if wanted security, boards, requires.
        """
        built = self._built(built)
        path = f"{product}/{version}.fw"
        for each in packed or pack_firmware(image, bases):
            words = firmware_words(image, version, built=built, base=each.base, **facts)
            if each.base is None:
                self.add(path, each.data, words)
            elif each.kept:
                self.add(f"{product}/{version}.{words['base'][:16]}.delta", each.data, words)
        return path

    def yank(self, product: str, version: str, of: str | None = None) -> list[str]:
        """Stages the end of a release, its deltas included; returns the paths.

        Args:
            of: "app" or "firmware" where only that is meant.
        """
        versions.check_version(version)
        with self.store.exclusive():
            message: Metadata[Targets] = self.following(product)
            targets = message.signed.targets
            found = [read_path(path) for path in sorted(targets)]
            gone = [
                each.path for each in found if each.version == version and of in (None, each.of)
            ]
            if not gone:
                there = sorted({each.version for each in found}, key=versions.order)
                raise FleetlingError(
                    f"{product} has no release {version}" + (f" of {of}" if of else ""),
                    f"Those that there are: {', '.join(there) or 'none'}.",
                )
            for path in gone:
                del targets[path]
            self.stage(product, message)
        return gone

    def _is_published(self, target: Target, words: Mapping[str, Any]) -> bool:
        """Whether it is published just so; refuses it where it is, or was, otherwise."""
        published = self.store.published(target.product)
        there = published.signed.targets.get(target.path) if published else None
        if there is None:
            if self.store.was_yanked(target.product, target.version, target.of):
                raise FleetlingError(
                    f"{target.product} {target.version} was published and yanked",
                    "Boards may have it: give what you build now a new version.",
                )
            return False
        if _content(there.custom) != _content(words):
            raise FleetlingError(
                f"{target.product} {target.version} is published, with other content",
                "A version is made once: give this one a new number.",
            )
        return target.path in self.releases(target.product)

    def _built(self, built: int | None) -> int:
        return int(self.clock()) if built is None else built

    # --- publishing

    def publish(self) -> list[str]:
        """Signs as far as it can and publishes what is staged; returns its roles.

        Raises:
            FleetlingError: a signature or a key is missing, or a board would refuse it.
        """
        with self.store.exclusive():
            self.required("root")
            self.sign()
            work = self.pending()
            self._check(work)
            if work:
                self._write(work)
            for role in self.store.staged_roles():
                self.store.unstage(role)
            self.store.tidy()
        return list(work)

    def refresh(self) -> None:
        """Renews timestamp, and snapshot where less than half of its life is left."""
        with self.store.exclusive():
            snapshot, root = self.store.published("snapshot"), self.store.published("root")
            if snapshot is None or root is None:
                raise FleetlingError(
                    "Nothing was published yet", "Run `fleetling release publish` first."
                )
            verdict = root.signed.get_verification_result(
                "snapshot", snapshot.signed_bytes, snapshot.signatures
            )
            if not verdict or self.left("snapshot", snapshot) < 0.5:
                snapshot = self._online("snapshot", snapshot.signed, root.signed)
                self.store.write("snapshot", snapshot)
            self.store.write("timestamp", self._timestamp(snapshot, root.signed))

    def _check(self, work: Mapping[str, Metadata[Any]]) -> None:
        for state in self.signatures():
            if not state.complete:
                keys = ", ".join(one[:8] for one in state.missing)
                raise FleetlingError(
                    f"{state.role} is signed by {state.done} of {state.needed} keys",
                    f"Sign it with one of {keys}: fleetling release sign",
                )
        for role, message in work.items():
            check_length(role, len(serialize(message)))
            if message.signed.is_expired(self.now()):
                raise FleetlingError(
                    f"What was signed of {role} has run out",
                    "Sign it anew: fleetling release sign --renew",
                )

    def _write(self, work: Mapping[str, Metadata[Any]]) -> None:
        root: Root = self.required("root").signed
        before = self.store.published("snapshot")
        snapshot = before.signed if before else Snapshot()
        listed = {name: self.required(name) for name in ("targets", *self.products())}
        snapshot.meta = {f"{name}.json": _listed(message) for name, message in listed.items()}
        # Both are signed before anything is written: what cannot be finished is not begun.
        made = self._online("snapshot", snapshot, root)
        timestamp = self._timestamp(made, root)
        for role, message in work.items():
            if role not in TOP:
                self._write_targets(message.signed)
        for role, message in work.items():
            if role != "root":
                self.store.write(role, message)
        self.store.write("snapshot", made)
        if "root" in work:
            self.store.write("root", work["root"])
        self.store.write("timestamp", timestamp)

    def _write_targets(self, targets: Targets) -> None:
        for path, target in targets.targets.items():
            digest = target.hashes["sha256"]
            data = self.store.content(path, digest)
            if data is None:
                raise FleetlingError(
                    f"The file of {path} is missing or damaged",
                    "Bring it back from a copy of the repository, or build it again.",
                )
            try:
                target.verify_length_and_hashes(data)
            except LengthOrHashMismatchError as e:
                raise AssertionError(f"{path} has another hash than its name") from e
            if not self.store.place(path, digest).is_file():
                self.store.write_target(path, digest, data)

    def _timestamp(self, snapshot: Metadata[Snapshot], root: Root) -> Metadata[Any]:
        before = self.store.published("timestamp")
        signed: Timestamp = before.signed if before else Timestamp()
        signed.snapshot_meta = _listed(snapshot)
        return self._online("timestamp", signed, root)

    def _online(self, role: str, signed: Any, root: Root) -> Metadata[Any]:
        """The next version of snapshot or timestamp, signed."""
        before = self.store.published(role)
        signed.version = before.signed.version + 1 if before else 1
        signed.expires = self.until(role)
        message: Metadata[Any] = Metadata(signed)
        for one in root.roles[role].keyids:
            if one in self.signers:
                message.sign(self.signers[one], append=True)
        if not root.get_verification_result(role, message.signed_bytes, message.signatures):
            keys = ", ".join(one[:8] for one in root.roles[role].keyids)
            raise FleetlingError(
                f"The keys of {role} ({keys}) are not at hand",
                f"Bring secrets/{role}*.key to this machine.",
            )
        check_length(role, len(serialize(message)))
        return message


def _listed(message: Metadata[Any]) -> MetaFile:
    return MetaFile.from_data(message.signed.version, serialize(message), ["sha256"])


def _content(words: Mapping[str, Any]) -> dict[str, Any]:
    """All but when it was built: what makes two builds the same."""
    return {name: value for name, value in words.items() if name != "built"}


def _same_release(path: str, target: Target) -> bool:
    other = read_path(path)
    return (other.version, other.of) == (target.version, target.of)


def _check_whole(
    target: Target, words: Mapping[str, Any], targets: Mapping[str, TargetFile]
) -> None:
    """Refuses a delta to something else than the release that it belongs to."""
    whole = targets.get(f"{target.product}/{target.version}.fw")
    if whole is None or whole.custom["sha256"] != words["sha256"]:
        raise FleetlingError(
            f"{target.path} does not make {target.product} {target.version}",
            "Build both together: fleetling release build firmware",
        )


def _check_beside(
    target: Target, words: Mapping[str, Any], targets: Mapping[str, TargetFile]
) -> None:
    """Refuses a release that boards with another one of its product would refuse."""
    number, counter = versions.order(target.version), words["security"]
    for path, there in targets.items():
        other = read_path(path)
        if other.of != target.of or other.version == target.version:
            continue
        placed, floor = versions.order(other.version), there.custom["security"]
        if placed == number:
            raise FleetlingError(
                f"{target.version} is the same version as {other.version}", "Choose another."
            )
        if (placed < number and floor > counter) or (placed > number and floor < counter):
            raise FleetlingError(
                f"{target.version} has the security counter {counter}, and {other.version} "
                f"has {floor}",
                "It must never sink from one version to a higher one: boards refuse that.",
            )
