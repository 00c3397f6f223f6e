# SPDX-License-Identifier: MIT
"""Each seeded fault still has its place in the product. `make mutations` seeds them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from faults import ROOT, names_in
from mutations import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.what)
def test_its_text_stands_there_once_and_its_tests_exist(mutation: Mutation) -> None:
    good = (ROOT / mutation.file).read_text()
    assert good.count(mutation.old) == 1
    ast.parse(good.replace(mutation.old, mutation.new))
    for node in mutation.caught_by:
        file, _, name = node.partition("::")
        assert name.split("[")[0] in names_in(Path(file))


def test_there_are_enough_and_each_is_there_once() -> None:
    assert len(MUTATIONS) >= 24
    assert len({mutation.what for mutation in MUTATIONS}) == len(MUTATIONS)
    assert len({(mutation.file, mutation.old) for mutation in MUTATIONS}) == len(MUTATIONS)
