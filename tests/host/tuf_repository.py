# SPDX-License-Identifier: MIT
"""A TUF repository for tests: authored with python-tuf, served over HTTP, every request noted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, cast
from urllib.parse import quote, unquote

from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]
from tuf.api.metadata import (  # type: ignore[attr-defined]
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

TUF_CLIENT = Path(__file__).parents[1] / "conformance/tuf-client"
ONLINE = ("targets", "snapshot", "timestamp")

# Runs before `tuf-client`: moves its clock, as a faked system clock would.
FAKE_CLOCK = """
import os, time
_real = time.time
time.time = lambda: _real() + float(os.environ["FAKE_CLOCK_OFFSET"])
"""


@cache
def signer(number: int, scheme: str = "ecdsa") -> CryptoSigner:
    """The test key with this number; made once, as RSA keys take their time."""
    if scheme.startswith("rsa"):
        return CryptoSigner.generate_rsa(scheme=scheme, size=2048)
    if scheme == "ed25519":
        return CryptoSigner.generate_ed25519()
    return CryptoSigner.generate_ecdsa()


class Repository:
    """Metadata that tests change at will, and what was published of it.

    `files` is what the server has: path below the URL -> bytes. `publish` signs with all of
    `signers[role]`, whether or not the role's keys say so.
    """

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)
        expires = self.now + timedelta(days=30)
        self.root = Root(expires=expires, consistent_snapshot=True)
        self.timestamp = Timestamp(expires=expires)
        self.snapshot = Snapshot(expires=expires)
        self.targets: dict[str, Targets] = {"targets": Targets(expires=expires)}
        self.signers: dict[str, list[CryptoSigner]] = {}
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.hashes = False  # of metadata files, in timestamp and snapshot
        self.compact = False  # JSON without white space
        self.published: dict[str, bytes] = {}
        for number, role in enumerate(("root", *ONLINE)):
            self.signers[role] = [signer(number)]
            self.root.add_key(signer(number).public_key, role)
        self.publish("root", *ONLINE, bump=False)
        self.anchor = self.published["root"]

    def metadata(self, role: str) -> Metadata[Any]:
        top: dict[str, Any] = {
            "root": self.root,
            "timestamp": self.timestamp,
            "snapshot": self.snapshot,
        }
        return Metadata(top.get(role) or self.targets[role])

    def publish(
        self,
        *roles: str,
        bump: bool = True,
        change: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """Signs and publishes roles in the given order; `change` alters each signed document."""
        for role in roles:
            message = self.metadata(role)
            message.signed.version += bump
            for key in self.signers[role]:
                message.sign(key, append=True)
            data = message.to_bytes(JSONSerializer(compact=self.compact))
            if change:
                document = json.loads(data)
                change(document)
                data = json.dumps(document).encode()
            self.place(role, message.signed.version, data)
            listed = MetaFile(message.signed.version)
            if self.hashes:
                listed = MetaFile.from_data(message.signed.version, data, ["sha256"])
            if role == "snapshot":
                self.timestamp.snapshot_meta = listed
            elif role in self.targets:
                self.snapshot.meta[f"{role}.json"] = listed

    def resign(self, role: str, document: dict[str, Any], version: int = 0) -> None:
        """Publishes, correctly signed, a document that python-tuf itself would not write."""
        data = encode_canonical(document["signed"])
        assert data is not None
        document["signatures"] = [key.sign(data.encode()).to_dict() for key in self.signers[role]]
        number = version or self.metadata(role).signed.version
        self.place(role, number, json.dumps(document).encode())

    def place(self, role: str, version: int, data: bytes) -> None:
        self.published[role] = data
        plain = role == "timestamp" or (role != "root" and not self.root.consistent_snapshot)
        name = f"{quote(role, '')}.json" if plain else f"{version}.{quote(role, '')}.json"
        self.files["metadata/" + name] = data

    def set_keys(self, role: str, keys: list[CryptoSigner], threshold: int = 1) -> None:
        """Gives a top-level role these keys and no others, and signs with them."""
        for key_id in list(self.root.roles[role].keyids):
            self.root.revoke_key(key_id, role)
        for key in keys:
            self.root.add_key(key.public_key, role)
        self.root.roles[role].threshold = threshold
        self.signers[role] = list(keys)

    def delegate(
        self, parent: str, name: str, paths: list[str] | None = None, **more: Any
    ) -> Targets:
        """Delegates to a role, by default all paths; returns its targets."""
        if "path_hash_prefixes" not in more and paths is None:
            paths = ["*"]
        more.setdefault("terminating", False)
        role = DelegatedRole(name, [], 1, paths=paths, **more)
        delegator = self.targets[parent]
        delegator.delegations = delegator.delegations or Delegations({}, {})
        assert delegator.delegations.roles is not None
        delegator.delegations.roles[name] = role
        key = self.signers.setdefault(name, [signer(100 + len(self.signers))])[0]
        delegator.add_key(key.public_key, name)
        if name not in self.targets:
            self.targets[name] = Targets(expires=self.root.expires)
            self.targets[name].version = 0  # `publish` makes it 1
        return self.targets[name]

    def add_target(
        self, role: str, path: str, data: bytes, hashes: tuple[str, ...] = ("sha256",)
    ) -> TargetFile:
        target = TargetFile.from_data(path, data, list(hashes))
        self.targets[role].targets[path] = target
        folder, slash, name = path.rpartition("/")
        for digest in target.hashes.values():
            self.files[f"targets/{folder}{slash}{digest}.{name}"] = data
        self.files["targets/" + path] = data
        return target

    def take_requests(self) -> list[str]:
        """The requests since the last call, without folders and `.json`."""
        taken = [path.split("/", 1)[1].removesuffix(".json") for path in self.requests]
        self.requests.clear()
        return taken


@contextmanager
def served(repository: Repository) -> Iterator[str]:
    """Serves the repository's files; yields the base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.removeprefix("/")
            repository.requests.append(path)
            data = repository.files.get(path) or repository.files.get(unquote(path))
            if data is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class Board:
    """`tests/conformance/tuf-client` with folders of its own, against one repository."""

    def __init__(self, repository: Repository, url: str, folder: Path) -> None:
        self.repository = repository
        self.url = url
        self.folder = folder
        self.metadata = folder / "metadata"
        self.downloads = folder / "targets"
        self.metadata.mkdir()
        self.downloads.mkdir()
        (folder / "clock").mkdir()
        (folder / "clock/sitecustomize.py").write_text(FAKE_CLOCK)

    def run(self, *arguments: str, days: float = 0) -> str:
        """Runs the client `days` from now; returns "" or the reason code it failed with."""
        environment = dict(os.environ, PYTHONPATH=str(self.folder / "clock"))
        environment["FAKE_CLOCK_OFFSET"] = str(days * 86400)
        done = subprocess.run(
            [sys.executable, TUF_CLIENT, "--metadata-dir", self.metadata, *arguments],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        assert (done.returncode == 0) == (done.stderr == ""), done.stderr
        return done.stderr.split()[1] if done.stderr else ""

    def init(self, root: bytes | None = None) -> str:
        path = self.folder / "initial.json"
        path.write_bytes(root or self.repository.anchor)
        return self.run("init", str(path))

    def refresh(self, days: float = 0) -> str:
        return self.run("--metadata-url", self.url + "/metadata/", "refresh", days=days)

    def download(self, *names: str, days: float = 0) -> str:
        chosen = [word for name in names for word in ("--target-name", name)]
        return self.run(
            *("--metadata-url", self.url + "/metadata", *chosen),
            *("--target-base-url", self.url + "/targets", "--target-dir", str(self.downloads)),
            "download",
            days=days,
        )

    def stored(self, role: str) -> bytes | None:
        path = self.metadata / f"{quote(role, '')}.json"
        return path.read_bytes() if path.exists() else None

    def versions(self) -> dict[str, int]:
        """{role: version} of everything in the metadata folder."""
        return {
            path.name.removesuffix(".json"): cast(
                int, json.loads(path.read_bytes())["signed"]["version"]
            )
            for path in sorted(self.metadata.iterdir())
        }

    def contents(self) -> list[bytes]:
        return sorted(path.read_bytes() for path in self.downloads.iterdir())
