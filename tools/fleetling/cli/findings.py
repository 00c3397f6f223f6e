# SPDX-License-Identifier: MIT
"""How checks of a board are shown."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from fleetling.cli.screen import output
from fleetling.port.checks import GOOD, SKIPPED, WARNING, WRONG, Finding

__all__ = ["show"]

# A word and a sign beside the colour: not everybody sees colours, and a log has none.
MARKS = {
    GOOD: ("ok", "green"),
    WARNING: ("warning", "yellow"),
    WRONG: ("WRONG", "bold red"),
    SKIPPED: ("skipped", "dim"),
}


def show(findings: Iterable[Finding]) -> None:
    """A line each, and below it what to do."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for each in findings:
        mark, style = MARKS[each.state]
        table.add_row(Text(mark, style=style), Text(each.check), Text(each.text))
        if each.remedy and each.state in (WARNING, WRONG):
            table.add_row("", "", Text(each.remedy, style="italic"))
    output.print(table)
