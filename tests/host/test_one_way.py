# SPDX-License-Identifier: MIT
"""Imports run one way: no two files, and no two folders of the tools, need each other."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOMES = {"agent": ROOT / "agent", "fleetling": ROOT / "tools" / "fleetling"}

Graph = dict[str, set[str]]


def modules(home: str) -> dict[str, Path]:
    """Every file below a home by its dotted name; a package by its folder's."""
    found = {}
    for path in sorted(HOMES[home].rglob("*.py")):
        parts = path.relative_to(HOMES[home].parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """What a file imports of its home, wherever in it that stands. A package's own file only hands
    names on: what it imports does not count, and who imports from it means the file behind."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".")
            base = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            base = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                found.add(whole if whole in known else base)
    return {one for one in found if one in known and known[one].name != "__init__.py"}


def files(home: str) -> Graph:
    known = modules(home)
    return {
        name: imported(name, path, known)
        for name, path in known.items()
        if path.name != "__init__.py"
    }


def folders(graph: Graph) -> Graph:
    """The same, of what lies in a home side by side."""
    found: Graph = {}
    for name, needs in graph.items():
        here = name.split(".")[1]
        there = {need.split(".")[1] for need in needs}
        found.setdefault(here, set()).update(there - {here})
    return found


def circle(graph: Graph) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as e:
        return list(e.args[1])
    return []


@pytest.mark.parametrize("home", HOMES)
def test_no_file_needs_one_that_needs_it(home: str) -> None:
    graph = files(home)
    assert sum(map(len, graph.values())) > len(graph)  # they are followed at all
    assert circle(graph) == []


def test_no_folder_of_the_tools_needs_one_that_needs_it() -> None:
    assert circle(folders(files("fleetling"))) == []


def test_a_circle_is_found() -> None:
    assert circle({"a.x": {"a.y"}, "a.y": {"a.x"}}) != []
    assert circle(folders({"h.a.x": {"h.b.y"}, "h.b.y": set(), "h.b.z": {"h.a.x"}})) != []
