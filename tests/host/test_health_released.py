# SPDX-License-Identifier: MIT
from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest

from fleetling.health.released import find

MANIFEST = b'{"format":1,"version":"1.0.0"}'
BUILD = f"{zlib.crc32(MANIFEST):08x}"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for product, manifest in (("fan", MANIFEST + b" "), ("pump", MANIFEST)):
        folder = tmp_path / "sources" / product / "1.0.0"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_bytes(manifest)
    return tmp_path / "sources"


def test_the_build_tells_products_with_one_version_apart(sources: Path) -> None:
    found = find({"app": ["1.0.0", BUILD]}, sources)
    assert (found.folder, found.name, found.missing) == (sources / "pump/1.0.0", "pump 1.0.0", "")


@pytest.mark.parametrize(
    ("app", "words"),
    [
        (None, "does not say which release"),
        ("1.0.0", "does not say which release"),
        (["1.0.0"], "does not say which release"),
        ([1, 2], "does not say which release"),
        (["", ""], "No application"),
        (["1.0.0", "00000000"], "another build than 1.0.0 of fan, pump"),
        (["1.0.0", ""], "another build"),
        (["2.0.0", BUILD], "The sources of 2.0.0 are not in"),
        (["../pump/1.0.0", BUILD], "are not in"),
        (["*", BUILD], "are not in"),
    ],
)
def test_what_is_missing_is_said(sources: Path, app: Any, words: str) -> None:
    found = find({"app": app}, sources)
    assert found.folder is None and words in found.missing


def test_without_a_manifest_no_version_is_believed(sources: Path) -> None:
    (sources / "pump/1.0.0/manifest.json").unlink()
    for build in (BUILD, ""):
        assert find({"app": ["1.0.0", build]}, sources).folder is None
