# SPDX-License-Identifier: MIT
"""A PostgreSQL server of the tests' own, on a socket in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ACCOUNT = "postgres"  # the server refuses to run as root


def find_program(name: str) -> str | None:
    """A program of PostgreSQL, which Debian keeps out of PATH."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([*map(str, places), os.environ["PATH"]]))


def as_account(*command: str) -> list[str]:
    return ["runuser", "-u", ACCOUNT, "--", *command] if os.getuid() == 0 else list(command)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a fresh server's database."""
    initdb, pg_ctl = find_program("initdb"), find_program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if os.getuid() == 0:
            os.chown(folder, pwd.getpwnam(ACCOUNT).pw_uid, -1)
        data = str(folder / "data")
        subprocess.run(
            as_account(initdb, "-D", data, "-U", ACCOUNT, "-A", "trust", "--no-sync"),
            check=True,
            capture_output=True,
            cwd="/",
        )
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        log = str(folder / "log")
        subprocess.run(
            as_account(pg_ctl, "-D", data, "-o", options, "-l", log, "-w", "start"),
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
        )
        try:
            yield f"postgresql+psycopg://{ACCOUNT}@/postgres?host={folder}"
        finally:
            subprocess.run(
                as_account(pg_ctl, "-D", data, "-m", "immediate", "stop"),
                check=True,
                stdout=subprocess.DEVNULL,
                cwd="/",
            )
