# SPDX-License-Identifier: MIT
"""Waits for boards to answer a document, and shows what each says."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from fleetling.cli.screen import errors
from fleetling.config.change import readable_schema
from fleetling.config.desk import Desk
from fleetling.config.reconcile import State
from fleetling.config.shown import APPLIED, PENDING, REFUSED, REVERTED, answer

__all__ = ["wait_for"]

LOOK_S = 0.5
ROWS = 20
COLOURS = {APPLIED: "green", REFUSED: "red", REVERTED: "red"}
ENDS = (APPLIED, REFUSED, REVERTED)


def wait_for(desk: Desk, versions: Mapping[str, int], timeout_s: float) -> dict[str, Any]:
    """What each device answered: {id: {"status", "refused": {name: code}, "version"}}.

    It ends when all that were online at any time have answered, or after `timeout_s`.
    """
    until = time.monotonic() + timeout_s
    seen: set[str] = set()
    told: dict[str, str] = {}
    state = desk.state()
    live = Live(console=errors, auto_refresh=False) if sys.stderr.isatty() else None
    if live is not None:
        live.start()
    try:
        while True:
            found = {name: _answer(desk, name, versions[name], seen) for name in versions}
            if live is not None:
                live.update(_table(state, found), refresh=True)
            for name, row in found.items() if live is None else ():
                if told.get(name) != row["status"]:
                    told[name] = row["status"]
                    errors.print(
                        f"{name}: {_sentence(state, name, row)}",
                        highlight=False,
                        markup=False,
                        soft_wrap=True,
                    )
            open_ = [n for n, row in found.items() if row["status"] not in ENDS and n in seen]
            if not open_ or time.monotonic() > until:
                return found
            desk.operator.wait(lambda state: False, LOOK_S)
    except KeyboardInterrupt:
        errors.print("The change is published; boards will take it.", highlight=False)
        raise
    finally:
        if live is not None:
            live.stop()


def _answer(desk: Desk, device_id: str, version: int, seen: set[str]) -> dict[str, Any]:
    device = desk.heard(device_id)
    if device.online:
        seen.add(device_id)
    status, codes = answer(device.reported, desk.store.epoch, version)
    if status == PENDING:
        status = "waiting" if device.online else "away"
    return {"version": version, "status": status, "refused": codes}


def _sentence(state: State, device_id: str, row: dict[str, Any]) -> str:
    text = str(row["status"])
    if row["status"] == "away":
        text = "away; it will take it when it comes"
    if row["status"] == REVERTED:
        text = "reverted: with it the board did not reach the broker, and went back by itself"
    if not row["refused"]:
        return text
    schema = readable_schema(state, device_id)
    wanted = state.wanted(device_id)
    for name, code in row["refused"].items():
        problem = schema.check(name, wanted[name]) if schema and name in wanted else None
        text += f"\n  {problem.text if problem else f'{name} ({code})'}"
    return text


def _table(state: State, found: dict[str, Any]) -> Table:
    """All devices; of many, those that have not applied it, as far as there is room."""
    table = Table(box=None, show_header=False)
    rows = list(found.items())
    if len(rows) > ROWS:
        rows = [(name, row) for name, row in rows if row["status"] != APPLIED][:ROWS]
    for name, row in rows:
        text = Text(_sentence(state, name, row), COLOURS.get(row["status"], "yellow"))
        table.add_row(Text(name), text)
    if len(found) > ROWS:
        counts = Counter(str(row["status"]) for row in found.values())
        table.add_row("", ", ".join(f"{n} {status}" for status, n in counts.most_common()))
    return table
