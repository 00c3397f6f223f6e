# SPDX-License-Identifier: MIT
"""Takes off a board what helps to find a fault, and never a secret.

What leaves the board is named here, one by one: its settings without those that are secret, the
last lines of its log, crash, events, heartbeats, the update's record, its metadata. Keys, claims
and Wi-Fi stay where they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fleetling.errors import FleetlingError
from fleetling.port.board import Board
from fleetling.port.facts import ask
from fleetling.port.prompt import RaisedError

__all__ = ["FILES", "pull"]

FILES = {
    "/fl/crash": "crash.json",
    "/fl/events": "events.jsonl",
    "/fl/health": "health.jsonl",
    "/fl/update": "update.json",
    "/fl/firmware": "firmware.json",
}
METADATA = "/fl/tuf"
ENOENT = 2
# The agent at the prompt, as agent.status() has it: built, and not started.
AGENT = """\
def fl_pull():
    try:
        import agent
        running = agent._built()
    except ImportError:
        fl.say(None)
        return
    settings = running.settings
    shown = {}
    if settings:
        for name in settings.base:
            if name not in settings.secrets:
                shown[name] = settings[name]
    fl.say({"settings": shown, "seen": settings.seen if settings else None,
        "hidden": sorted(settings.secrets) if settings else [],
        "log": running.log.tail(200), "update": running.update is not None})
fl_pull()
del fl_pull
"""


def pull(board: Board, folder: Path) -> list[Path]:
    """Writes into `folder` what the board has; the files.

    Raises:
        FleetlingError: the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FleetlingError(f"{folder} is not empty", "Name another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    written = []

    def keep(name: str, data: bytes) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        written.append(path)

    facts = ask(board)
    keep("board.json", _text(facts.said))
    told = board.ask(AGENT, 60)
    if told:
        keep("settings.json", _text({k: told[k] for k in ("settings", "seen", "hidden")}))
        keep("log.txt", "".join(line + "\n" for line in told["log"]).encode())
    for path, name in FILES.items():
        try:
            keep(name, board.read(path))
        except RaisedError as e:
            if e.number != ENOENT:
                raise
    try:
        metadata = [row[0] for row in board.listdir(METADATA) if not row[1]]
    except RaisedError:
        metadata = []
    for each in metadata:
        keep(f"metadata/{Path(each).name}", board.read(f"{METADATA}/{each}"))
    return written


def _text(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
