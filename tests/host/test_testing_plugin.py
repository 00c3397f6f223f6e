# SPDX-License-Identifier: MIT
"""The pytest plugin as a user meets it: in a project of its own, in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PUMP = Path(__file__).parents[2] / "examples/pump"


def run_pytest(folder: Path, *arguments: str) -> tuple[int, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr


def copied(folder: Path) -> Path:
    project = folder / "pump"
    shutil.copytree(PUMP, project, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "pytest.ini").write_text("[pytest]\n")
    return project


def test_the_example_passes_and_a_fault_in_it_is_found(tmp_path: Path) -> None:
    project = copied(tmp_path)
    code, said = run_pytest(project)
    assert code == 0 and "5 passed" in said, said
    app = project / "app.py"
    kept_on = app.read_text().replace(
        "finally:\n                    _pump.off()", "finally:\n                    pass"
    )
    assert kept_on != app.read_text()
    app.write_text(kept_on)
    code, said = run_pytest(project, "-k", "watered or dry_is_a_setting")
    assert code == 1 and "waited 5 s for the pump to stop" in said, said
    assert "the board printed last" in said


CUTS = """
def test_cuts(fleetling_board):
    board = fleetling_board
    board.volts[34] = 1.5
    board.start()
    cut = list(board.power_cuts(20, every=10, settle_s=20))
    assert len(cut) >= 2 and cut == sorted(set(cut))
    assert board.boots == 2 + 2 * len(cut), board.boots
    assert board.online
"""


def test_power_cuts_cut_and_let_it_start_again(tmp_path: Path) -> None:
    project = copied(tmp_path)
    (project / "tests/test_pump.py").write_text(CUTS)
    code, said = run_pytest(project)
    assert code == 0, said


MISTAKES = """
import pytest

@pytest.mark.fleetling(aplication="x")
def test_a_wrong_word(fleetling_board): pass

@pytest.mark.fleetling(app="nowhere")
def test_a_wrong_folder(fleetling_board): pass

def test_no_application(fleetling_board): pass

def test_no_board(): pass
"""


def test_mistakes_are_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_mistakes.py").write_text(MISTAKES)
    code, said = run_pytest(tmp_path)
    assert code == 1 and "3 errors" in said and "1 passed" in said
    assert "no aplication; it takes" in said
    assert "nowhere has no app.py" in said
    assert "no app.py in a folder above it. Name it" in said


SETTINGS = """
import pytest

@pytest.mark.fleetling(settings={"hartbeat_s": 5})
def test_a_slip(fleetling_board): pass

@pytest.mark.fleetling(settings={"app.dry": 5})
def test_one_of_the_application(fleetling_board): pass

@pytest.mark.fleetling(settings={"heartbeat_s": 5, "app.dry_below": 50})
def test_as_it_should_be(fleetling_board): pass

@pytest.mark.fleetling(files={"settings.json": b"["}, settings={"app.dry": 5})
def test_nobody_knows_what_there_is(fleetling_board): pass
"""


def test_a_setting_that_no_board_has_is_told(tmp_path: Path) -> None:
    project = copied(tmp_path)
    (project / "tests/test_pump.py").write_text(SETTINGS)
    code, said = run_pytest(project)
    assert code == 1 and "2 errors" in said and "2 passed" in said, said
    assert "no setting hartbeat_s; there are: app.dry_below" in said
    assert "no setting app.dry; there are: app.dry_below" in said
