# SPDX-License-Identifier: MIT
"""docs/faults.md says what tests/faults.py says, and that names tests that exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults import DOCUMENT, ROWS, Row, counts_of, mutations_of, names_in, node_of, render
from mutations import MUTATIONS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_names_tests_that_exist_or_says_what_is_missing(row: Row) -> None:
    assert row.tests or row.missing
    for test in row.tests:
        file, _, name = node_of(test).partition("::")
        assert name in names_in(Path(file)), test
    # What an attacker may do is all shown.
    assert row.id[0] not in "UN" or (row.tests and not row.missing)


def test_rows_are_there_once() -> None:
    names = [row.id for row in ROWS]
    assert len(set(names)) == len(names)
    assert {name[0] for name in names} == set("PUND")


def test_the_document_is_up_to_date() -> None:
    """`python tests/faults.py --text` writes it; `make faults` counts anew."""
    text = DOCUMENT.read_text()
    assert render(counts_of(text), mutations_of(text)) == text


def test_the_document_has_the_mutations_that_there_are() -> None:
    """`make mutations` writes them once all are caught."""
    table = mutations_of(DOCUMENT.read_text())
    assert [line.split(" | ")[0][2:] for line in table.splitlines() if "| `" in line] == [
        mutation.what for mutation in MUTATIONS
    ]
