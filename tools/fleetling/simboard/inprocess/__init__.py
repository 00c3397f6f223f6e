# SPDX-License-Identifier: MIT
"""The simulated board on CPython: one process, virtual time, the same run for the same seed."""

from .board import Board, Outcome, Snapshot
from .clock import Deadlock
from .littlefs import CorruptFileSystem
from .net import Host, Net
from .sandbox import Sandbox
from .tls_server import ServerTls

__all__ = [
    "Board",
    "CorruptFileSystem",
    "Deadlock",
    "Host",
    "Net",
    "Outcome",
    "Sandbox",
    "ServerTls",
    "Snapshot",
]
