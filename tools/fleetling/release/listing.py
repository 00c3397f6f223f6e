# SPDX-License-Identifier: MIT
"""What releases there are, as rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fleetling.release import versions
from fleetling.release.repository import Repository
from fleetling.release.store import TOP
from fleetling.release.words import read_path

__all__ = ["Release", "changes", "releases"]


@dataclass(frozen=True)
class Release:
    """A release of a product.

    Attributes:
        state: "published", "staged", or "yanking" while its end is staged.
        length: bytes of the whole file; `size` is that of the image or manifest in it.
        deltas: {first 16 digits of the base's SHA-256: bytes}.
    """

    product: str
    version: str
    kind: str
    state: str
    path: str
    length: int
    size: int
    sha256: str
    security: int
    built: int
    requires: dict[str, str]
    deltas: dict[str, int]

    def document(self) -> dict[str, Any]:
        return asdict(self)


def releases(repository: Repository) -> list[Release]:
    """All of them by product and version, published and staged."""
    found = []
    for product in repository.products():
        message = repository.store.published(product)
        published = dict(message.signed.targets) if message else {}
        current = repository.releases(product)
        every = {**published, **current}
        for path, target in every.items():
            place, words = read_path(path), target.custom
            if place.kind == "delta":
                continue
            deltas = {
                other.base: each.length
                for each, other in ((every[one], read_path(one)) for one in every)
                if other.kind == "delta" and other.version == place.version
            }
            state = "staged" if path not in published else "published"
            found.append(
                Release(
                    product,
                    place.version,
                    place.of,
                    state if path in current else "yanking",
                    path,
                    target.length,
                    words["size"],
                    words["sha256"],
                    words["security"],
                    words["built"],
                    words.get("requires", {}),
                    deltas if place.kind == "fw" else {},
                )
            )
    return sorted(found, key=lambda row: (row.product, row.kind, versions.order(row.version)))


def changes(repository: Repository) -> list[str]:
    """What the staged versions of the products would change, for who is about to sign them."""
    found = []
    for role, message in repository.pending().items():
        if role in TOP:
            continue
        before = repository.store.published(role)
        old = dict(before.signed.targets) if before else {}
        new = message.signed.targets
        found += [f"+ {path}" for path in sorted(new) if old.get(path) != new[path]]
        found += [f"- {path}" for path in sorted(set(old) - set(new))]
    return found
