# SPDX-License-Identifier: MIT
"""A broker for the demo and the tests, on this machine: mosquitto when it is installed, else
amqtt.

Both are started as a process, are ready when `start` returns, and end with `stop`.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from fleetling.broker.config import BrokerFiles, write_mosquitto
from fleetling.errors import FleetlingError

__all__ = ["LocalBroker", "find_mosquitto", "free_port"]

START_S = 15
STOP_S = 5
# Below what Linux, macOS and Windows give to connections (from 32768 and 49152 on).
FIRST_PORT, LAST_PORT = 20_000, 32_000


def find_mosquitto() -> str | None:
    """The mosquitto program, also where a plain user's PATH does not look."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A TCP port that nobody listens on now, and that the system gives to no connection.

    Those that the system chooses by itself come from a range above; another process could have
    one before its server does.
    """
    while True:
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class LocalBroker:
    """A broker process; a context manager.

    Args:
        files: certificates and ports.
        folder: for its configuration and log.
        kind: "mosquitto", "amqtt", or "" for the best that is there.
    """

    def __init__(self, files: BrokerFiles, folder: Path, *, kind: str = "") -> None:
        self._files = files
        self._folder = folder
        self.kind = kind or ("mosquitto" if find_mosquitto() else "amqtt")
        self._log = folder / f"{self.kind}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def last_words(self) -> str:
        """The end of its log."""
        return " / ".join(self.log.strip().splitlines()[-3:])

    def _command(self) -> list[str]:
        if self.kind == "mosquitto":
            program = find_mosquitto()
            if program is None:
                raise FleetlingError(
                    "mosquitto is not installed", "apt-get install mosquitto, or use amqtt."
                )
            # For root alone; others may have no name, in a container.
            user = getpass.getuser() if os.geteuid() == 0 else None
            path = write_mosquitto(self._files, self._folder, user=user)
            return [program, "-c", str(path)]
        files = self._files
        return [
            *(sys.executable, "-m", "fleetling.broker.embedded"),
            *(str(files.fleet_ca), str(files.claim_ca)),
            *(str(files.certificate), str(files.key)),
            *(str(files.port), str(files.claim_port)),
        ]

    def start(self) -> None:
        """Starts it and waits until both doors are open.

        Raises:
            FleetlingError: it ended or stayed silent; the message has its last words.
        """
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_for_doors(self._process)
        except BaseException:
            self.stop()
            raise

    def _wait_for_doors(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + START_S
        for port in (self._files.port, self._files.claim_port):
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > until:
                    raise FleetlingError(
                        f"{self.kind} did not start: {self.last_words}",
                        "Is the port free? Its log says more.",
                    )
                time.sleep(0.05)

    def stop(self) -> None:
        """Ends it, in peace if it can."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def reload(self) -> None:
        """Makes mosquitto read its rules and revocation lists again."""
        if self._process is not None and self.kind == "mosquitto":
            os.kill(self._process.pid, signal.SIGHUP)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
