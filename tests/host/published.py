# SPDX-License-Identifier: MIT
"""A repository's folder with releases, signed with keys of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tuf_repository import ONLINE, Repository

__all__ = ["publish_releases"]

SHA = "ab" * 32


def publish_releases(folder: Path, paths: tuple[str, ...], **custom: Any) -> Repository:
    """Writes a repository with these targets, all with the same `custom`."""
    repository = Repository()
    for product in sorted({path.partition("/")[0] for path in paths}):
        repository.delegate("targets", product, [product + "/*"], terminating=True)
    for path in paths:
        product, _, name = path.partition("/")
        kind = "app" if name.endswith(".app") else "firmware"
        version = name.removesuffix(".app").removesuffix(".fw")
        facts: dict[str, Any] = {
            "kind": kind,
            "version": version,
            "security": 0,
            "size": 4,
            "sha256": SHA,
            "built": 1,
        }
        if kind == "firmware":
            facts |= {"chip": "esp32", "boards": ["ESP32_GENERIC-OTA"]}
        target = repository.add_target(product, path, path.encode())
        target.unrecognized_fields["custom"] = {**facts, **custom}
    products = {path.partition("/")[0] for path in paths}
    repository.publish("targets", *sorted(products), *ONLINE)
    for name, data in repository.files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return repository
