# SPDX-License-Identifier: MIT
"""Settings as people and programs are shown them; the only way that values leave. No I/O.

A secret is never shown, in no form: "set" and "not set" is all that is said of it. What nobody has
described (an application's setting that no known board has) counts as a secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fleetling.config.change import factory, schema_of
from fleetling.config.reconcile import State
from fleetling.config.schema import Schema, plain
from fleetling.config.store import Revision
from fleetling.errors import FleetlingError

__all__ = ["Shown", "answer", "devices", "rows"]

# What has become of a document on a board.
APPLIED, REFUSED, TRIAL, REVERTED = "applied", "refused", "on trial", "reverted"
PENDING = "not yet on the board"


class Shown:
    """What may be shown of values, by the schemas of all boards that are known."""

    def __init__(self, state: State) -> None:
        self._schemas = [Schema(None)]
        for facts in state.facts.values():
            if facts.schema is None:
                continue
            with suppress(FleetlingError):  # one that cannot be read describes nothing
                self._schemas.append(Schema(facts.schema))

    def secret(self, name: str) -> bool:
        found = [schema.secret(name) for schema in self._schemas if name in schema]
        return any(found) if found else True

    def text(self, name: str, value: Any) -> str:
        if self.secret(name):
            return "set" if value is None or value else "not set"
        if isinstance(value, str) and value.isprintable() and value.strip() == value and value:
            return value
        text = json.dumps(value, ensure_ascii=False)
        return text if text.isprintable() else json.dumps(value)

    def data(self, name: str, value: Any) -> Any:
        """For --json: a secret is null."""
        return None if self.secret(name) else value

    def config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.data(name, value) for name, value in config.items()}

    def changes(self, revision: Revision) -> list[str]:
        """What a change of a layer did, a text for each setting."""
        made = []
        before, after = revision.before, revision.after
        for name in sorted({*before, *after}):
            if name not in after:
                made.append(f"{name} unset")
            elif name not in before:
                made.append(f"{name} = {self.text(name, after[name])}")
            elif before[name] != after[name] and self.secret(name):
                made.append(f"{name} changed")
            elif before[name] != after[name]:
                old, new = self.text(name, before[name]), self.text(name, after[name])
                made.append(f"{name} = {new} (was {old})")
        return made


def answer(reported: Mapping[str, Any], epoch: str, version: int) -> tuple[str, dict[str, str]]:
    """What a board says to a document: (what has become of it, {name: code} of what is refused).

    `reported` is anything that a board may have sent.
    """
    whole = reported.get("refused")
    if isinstance(whole, dict) and (whole.get("epoch"), whole.get("version")) == (epoch, version):
        return REFUSED, {"document": plain(str(whole.get("code")))}
    if reported.get("epoch") != epoch or reported.get("version") != version:
        return PENDING, {}
    keys = reported.get("keys")
    codes = {plain(n): plain(str(c)) for n, c in keys.items()} if isinstance(keys, dict) else {}
    if reported.get("trial") is True:
        return TRIAL, codes
    if reported.get("reverted") is True:
        return REVERTED, codes
    return (REFUSED if codes else APPLIED), codes


def _in_force(
    shown: Shown, schema: Schema, reported: Mapping[str, Any], name: str, value: Any
) -> bool:
    """Whether a report says that a value is in force; of a secret it does not tell."""
    config = reported.get("config")
    if shown.secret(name) or not isinstance(config, dict):
        return False
    return bool(config.get(name, schema.default(name)) == value)


def devices(count: int) -> str:
    return f"{count} device{'' if count == 1 else 's'}"


def rows(state: State, shown: Shown, device_id: str, epoch: str) -> list[dict[str, Any]]:
    """Every setting of a device: name, value, origin, and a note where it is not in force."""
    schema = schema_of(state, device_id)
    merged = state.merged(device_id)
    flashed = factory(state, device_id)
    last = state.published.get(device_id)
    reported = state.of(device_id).reported
    status, codes = answer(reported, epoch, last.version) if last else (PENDING, {})
    made = []
    for name in sorted({*schema.names, *merged, *flashed}, key=lambda n: ("." in n, n)):
        note = ""
        if name in merged:
            value, origin = merged[name].value, str(merged[name].origin)
            if last is None or not last.sent or last.config.get(name) != value:
                note = PENDING
            elif name in codes:
                problem = schema.check(name, value)
                note = f"refused: {problem.text if problem else codes[name]}"
            elif status == PENDING or (
                status in (TRIAL, REVERTED) and not _in_force(shown, schema, reported, name, value)
            ):
                note = status
        elif name in flashed:
            value, origin = flashed[name], "flashed"
        else:
            value, origin = schema.default(name), "default"
        if shown.secret(name) and origin == "default":
            value = ""
        made.append(
            {
                "name": plain(name),
                "value": shown.data(name, value),
                "shown": shown.text(name, value),
                "secret": shown.secret(name),
                "origin": origin,
                "note": note,
            }
        )
    return made
