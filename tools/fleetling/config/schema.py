# SPDX-License-Identifier: MIT
"""What a board can be told, checked by the board's own code (agent/config/schema.py).

A board publishes its schema as words (docs/settings.md); the table that the agent's code checks
against is made of them here. A board that never published one is checked against the agent of
this installation, and its application's settings not at all.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from fleetling.device import source_folder
from fleetling.errors import FleetlingError
from fleetling.simboard.shims import micropython

__all__ = ["LARGEST", "Problem", "Schema", "parse_value", "plain", "size"]

# Bytes of compact JSON that a board keeps of what is set: agent/config/stored.py.
LARGEST = 440
OWN = "app."
NAME = re.compile(r"[a-z0-9_.]{1,32}")
TRUE = ("true", "on", "yes", "1")
FALSE = ("false", "off", "no", "0")


@cache
def agent_schema() -> ModuleType:
    """The board's module, loaded beside the host's own."""
    path = source_folder() / "agent/config/schema.py"
    spec = importlib.util.spec_from_file_location("fleetling_agent_schema", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get("micropython")
    sys.modules["micropython"] = micropython
    try:
        spec.loader.exec_module(module)
    finally:
        if before is None:
            del sys.modules["micropython"]
        else:
            sys.modules["micropython"] = before
    return module


@dataclass(frozen=True)
class Problem:
    """A value that the board would refuse.

    Attributes:
        name: the setting's.
        code: as the board would report it, or "settings-size".
        text: a sentence for a person; it never has the value of a secret.
    """

    name: str
    code: str
    text: str


class Schema:
    """The settings of one board.

    Args:
        words: what the board published, `{name: words}`; None when it never did.

    Raises:
        FleetlingError: the words are of a newer agent, or of none.
    """

    def __init__(self, words: Mapping[str, Any] | None) -> None:
        agent = agent_schema()
        self.published = words is not None
        self.words: dict[str, dict[str, Any]] = dict(
            agent.describe(agent.AGENT) if words is None else words
        )
        self._table = {name: _entry(name, entry) for name, entry in self.words.items()}

    def __contains__(self, name: object) -> bool:
        return name in self._table

    @property
    def names(self) -> list[str]:
        return sorted(self._table, key=lambda name: (name.startswith(OWN), name))

    def kind(self, name: str) -> str:
        return str(self.words[name]["type"])

    def secret(self, name: str) -> bool:
        """Whether a value must not be shown; also where it is not known whether it may."""
        if name not in self.words:
            return not (self.published or name in agent_schema().AGENT)
        return self.words[name].get("secret") is True

    def default(self, name: str) -> Any:
        return self.words[name].get("default") if name in self.words else None

    def unchecked(self, name: str) -> bool:
        """Whether nothing here knows what the board makes of it."""
        return not self.published and name.startswith(OWN)

    def check(self, name: str, value: Any) -> Problem | None:
        """Whether the board takes the value, by its own code."""
        if self.unchecked(name):
            return None
        code = agent_schema().check(self._table, name, value)
        return Problem(name, code, self._sentence(name, code)) if code else None

    def check_size(self, config: Mapping[str, Any], above: frozenset[str]) -> Problem | None:
        """Whether the board has room. `above`: settings that the flashing tool gave."""
        differing = {
            name: value
            for name, value in config.items()
            if name in above or self.secret(name) or value != self.default(name)
        }
        bytes_ = size(differing)
        if bytes_ <= LARGEST:
            return None
        return Problem(
            "",
            "settings-size",
            f"all settings together take {bytes_} bytes, and a board has room for {LARGEST}; "
            "unset or shorten some",
        )

    def bounds(self, name: str) -> str:
        """What it may be, in few words."""
        words = self.words[name]
        parts = [str(words["type"])]
        if "least" in words and "greatest" in words:
            parts.append(f"{words['least']} to {words['greatest']}")
        if words.get("choices") is not None:
            parts.append("one of " + ", ".join(plain(str(choice)) for choice in words["choices"]))
        elif parts[0] == "window":
            parts.append("HH:MM-HH:MM, or empty")
        elif parts[0] == "endpoint":
            parts.append("host:port")
        elif parts[0] == "wifi":
            parts.append(f"up to {words.get('longest', 0)} networks")
        elif "longest" in words:
            unit = "items" if parts[0] == "list" else "characters"
            parts.append(f"{self._table[name][2]} to {words['longest']} {unit}")
        return ", ".join(parts)

    def _sentence(self, name: str, code: str) -> str:
        if code == "setting-unknown":
            near = difflib.get_close_matches(name, self._table, 3, 0.6)
            near += [full for full in self._table if full == OWN + name and full not in near]
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            return f"{name} is no setting of this board{hint}"
        if code == "setting-read-only":
            return f"{name} is set when the board is flashed, and by nothing else"
        what = {
            "setting-type": "is not of its type",
            "setting-range": "is out of its range",
            "setting-choice": "is none of its choices",
            "setting-length": "is too short or too long",
        }.get(code, f"is refused ({code})")
        more = {
            "setting-type": {
                "wifi": " (passwords: empty, or 8 to 64 bytes; names: 1 to 32)",
                "list": " (list of texts)",
            }.get(self.kind(name), ""),
            "setting-length": " of 64 characters at most" if self.kind(name) == "list" else "",
        }.get(code, "")
        return f"{name} {what}: {self.bounds(name)}{more}"


def _entry(name: str, words: Any) -> tuple[Any, ...]:
    agent = agent_schema()
    kind = words.get("type") if isinstance(words, dict) else None
    if not isinstance(kind, str) or kind not in agent._CHECKS:
        raise FleetlingError(
            "The board's agent is newer: "
            f"its setting {plain(name)} has the type {plain(str(kind))}",
            "Update this installation: pip install --upgrade fleetling",
        )
    known = agent.AGENT.get(name)
    if kind in ("int", "float"):
        least, greatest = words.get("least"), words.get("greatest")
    else:
        # How short a text may be, the words do not say; the agent's code does for its own.
        least = known[2] if known is not None and known[0] == kind else 0
        greatest = words.get("longest", 0)
    choices = words.get("choices")
    if (
        not all(isinstance(bound, int | float) for bound in (least, greatest))
        or not isinstance(choices, list | None)
        or not NAME.fullmatch(name)
    ):
        raise FleetlingError(
            f"The board's description of {plain(name)} makes no sense",
            "Is its agent newer than this installation? pip install --upgrade fleetling",
        )
    flags = sum(flag for word, flag in agent._FLAGS if words.get(word) is True)
    return (kind, words.get("default"), least, greatest, choices, flags)


def plain(text: str) -> str:
    """A text that a board sent, without what would command a terminal."""
    return text if text.isprintable() else ascii(text)


def size(config: Mapping[str, Any]) -> int:
    """Bytes of compact JSON; CPython boards write ASCII, MicroPython UTF-8: the larger."""
    texts = [
        json.dumps(config, separators=(",", ":"), ensure_ascii=ascii_) for ascii_ in (True, False)
    ]
    return max(len(text.encode(errors="replace")) for text in texts)


def parse_value(kind: str, name: str, text: str) -> Any:
    """A value as a person types it. Bounds are not checked here.

    Raises:
        FleetlingError: it is none of that type; the message does not repeat it.
    """
    try:
        return _parsed(kind, text)
    except ValueError:
        how = {
            "int": "a whole number",
            "float": "a number",
            "bool": "true or false",
            "list": 'texts with commas between, or JSON: ["a","b"]',
            "wifi": 'JSON: [["name","password"],...], or --wifi NAME',
        }[kind]
        raise FleetlingError(f"The value of {name} is not {kind}", f"Give {how}.") from None


def _parsed(kind: str, text: str) -> Any:
    if kind == "int":
        return int(text)
    if kind == "float":
        number = float(text)
        if number - number != 0:
            raise ValueError
        return int(number) if number == int(number) else number
    if kind == "bool":
        if text.lower() not in TRUE + FALSE:
            raise ValueError
        return text.lower() in TRUE
    if kind == "wifi" or (kind == "list" and text.startswith("[")):
        return json.loads(text)
    if kind == "list":
        return [part.strip() for part in text.split(",")] if text else []
    return text
