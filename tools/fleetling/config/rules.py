# SPDX-License-Identifier: MIT
"""Rules: which devices are in a group, told by what is known of them. No I/O.

    board=*ESP32* agent>=0.2 tag=beta,pilot location="Berlin *"

All terms must hold. `=` and `!=` compare with patterns (`*`, `?`, `[ab]`; case counts), a comma
between them is an "or". `<`, `<=`, `>`, `>=` compare the versions `agent`, `firmware` and `app`. A
device of which a thing is not known matches no term on it but `!=`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase

from packaging.version import InvalidVersion, Version

from fleetling.errors import FleetlingError

__all__ = ["FIELDS", "Rule"]

VERSIONS = ("agent", "firmware", "app")
FIELDS = ("id", "tag", "location", "role", "board", "build", "chip", *VERSIONS)
ORDER: dict[str, Callable[[Version, Version], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
LONGEST = 200  # characters of a version
NAME = re.compile(r"[^\s=!<>\"]*")
COMPARISON = re.compile(r"!=|<=|>=|=|<|>")
TEXT = re.compile(r'"([^"]*)"|([^\s"]+)')


@dataclass(frozen=True)
class Term:
    field: str
    comparison: str
    wanted: tuple[str, ...]

    def holds(self, facts: Mapping[str, tuple[str, ...]]) -> bool:
        values = facts.get(self.field, ())
        if self.comparison in ORDER:
            return any(self._ordered(value) for value in values)
        found = any(fnmatchcase(value, wanted) for value in values for wanted in self.wanted)
        return found is (self.comparison == "=")

    def _ordered(self, value: str) -> bool:
        version = _version(value)
        return version is not None and ORDER[self.comparison](version, Version(self.wanted[0]))


def _version(text: str) -> Version | None:
    """A version at the start of a text: "1.29.0-preview on 2026-01-01", "v1.24.1"; None of any
    other text, for it is a board's."""
    text = text[:LONGEST]  # int() refuses thousands of digits
    with suppress(InvalidVersion):
        return Version(text.split(" ")[0])
    numbers = re.match(r"v?([0-9]+(?:\.[0-9]+)*)", text)
    return Version(numbers[1]) if numbers else None


class Rule:
    """A rule that was read.

    Raises:
        FleetlingError: it is none; the message says where.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.terms = tuple(_terms(text))

    def matches(self, facts: Mapping[str, tuple[str, ...]]) -> bool:
        """Whether a device is in. `facts`: the values of each field that is known of it."""
        return all(term.holds(facts) for term in self.terms)


def _terms(text: str) -> list[Term]:
    terms = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        name = NAME.match(text, at)
        assert name is not None
        if name[0] not in FIELDS:
            raise _wrong(
                text, at, f"{name[0]!r} is nothing to tell devices by: {', '.join(FIELDS)}"
            )
        comparison = COMPARISON.match(text, name.end())
        if comparison is None:
            raise _wrong(text, name.end(), "here =, !=, <, <=, > or >= is missing")
        value = TEXT.match(text, comparison.end())
        if value is None:
            raise _wrong(text, comparison.end(), "here a value is missing, or its second quote")
        after = value.end()
        if after < len(text) and not text[after].isspace():
            raise _wrong(text, after, "here a space is missing")
        wanted = tuple((value[1] if value[1] is not None else value[2]).split(","))
        if comparison[0] in ORDER:
            if name[0] not in VERSIONS:
                raise _wrong(text, name.end(), f"only {', '.join(VERSIONS)} have an order")
            try:
                [Version(one) for one in wanted]
            except ValueError:  # or thousands of digits
                raise _wrong(text, comparison.end(), "this is no version") from None
            if len(wanted) != 1:
                raise _wrong(text, comparison.end(), "one version is enough")
        terms.append(Term(name[0], comparison[0], wanted))
        at = after
    if not terms:
        raise FleetlingError(
            "A rule without a term", 'Every device is the fleet: --fleet; else, say, "tag=beta".'
        )
    return terms


def _wrong(text: str, at: int, what: str) -> FleetlingError:
    return FleetlingError(
        f"The rule is wrong at character {at + 1}: {what}", f"{text}\n{' ' * at}^"
    )
