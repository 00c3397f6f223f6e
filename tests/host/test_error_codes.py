# SPDX-License-Identifier: MIT
"""Every code that a board can raise stands in docs/errors.md, and nothing else does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ERRORS = {"AgentError", "Refused", "LinkError", "StorageError", "Failed"}
CODE = re.compile(r"^[a-z0-9]+(-[a-z0-9]+)+$")


def sources() -> list[Path]:
    return [*(ROOT / "agent").rglob("*.py"), ROOT / "rescue.py"]


def raised() -> set[str]:
    """The string constants that reach an error's first argument anywhere on the board."""
    found: set[str] = set()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS and node.args:
                constants = ast.walk(node.args[0])
                found |= {
                    constant.value
                    for constant in constants
                    if isinstance(constant, ast.Constant) and isinstance(constant.value, str)
                }
    return {code for code in found if CODE.match(code)}


def documented() -> set[str]:
    table = (ROOT / "docs/errors.md").read_text()
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {code for row in rows for code in re.findall(r"`([^`]+)`", row)}


def test_every_code_that_is_raised_is_documented() -> None:
    assert len(raised()) > 20
    assert raised() - documented() == set()


def test_every_code_that_is_documented_exists() -> None:
    source = "".join(path.read_text() for path in sources())
    wifi = {code for code in documented() if code.startswith("wifi-")}
    assert {code for code in documented() - wifi if code not in source} == set()
    for word in {code.removeprefix("wifi-") for code in wifi} - {"list", "lost", "none"}:
        assert f'"{word}"' in source


def test_every_code_has_its_place_where_people_look_for_help() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text()
    named = set(re.findall(r"`([a-z0-9*-]+)`", page))
    families = tuple(name[:-1] for name in named if name.endswith("-*"))
    missing = {code for code in documented() - named if not code.startswith(families)}
    assert missing == set()
    code_like = {name for name in named if CODE.match(name) and name in everywhere()}
    assert len(code_like) > 80


def everywhere() -> set[str]:
    """All that stands in code marks in docs/errors.md."""
    return set(re.findall(r"`([^`]+)`", (ROOT / "docs/errors.md").read_text()))
