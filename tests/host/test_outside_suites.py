# SPDX-License-Identifier: MIT
"""Outside suites are told of the executables in `tests/conformance`, which must not stop them."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

CONFORMANCE = Path(__file__).parents[1] / "conformance"
# All that an environment of the suite's own needs to have.
PYTEST = ("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments")
CONFTEST = """
def pytest_addoption(parser):
    parser.addoption("--entrypoint", required=True)
"""
TEST = """
def test_it(pytestconfig):
    assert pytestconfig.getoption("--entrypoint")
"""


@pytest.mark.parametrize("program", ["tuf-client", "ecdsa-verify"])
@pytest.mark.parametrize("settings", [True, False], ids=["own settings", "none"])
def test_a_suite_with_an_entry_point_of_ours_runs(
    tmp_path: Path, program: str, settings: bool
) -> None:
    """Without settings of its own, pytest takes ours, because the entry point is a path too."""
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "conftest.py").write_text(CONFTEST)
    (suite / "test_it.py").write_text(TEST)
    if settings:
        (suite / "pytest.ini").write_text("[pytest]\n")
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in PYTEST:
        origin = Path(str(importlib.import_module(name).__file__))
        whole = origin.parent if origin.stem == "__init__" else origin
        (packages / whole.name).symlink_to(whole)
    command = [sys.executable, "-S", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(suite)]
    done = subprocess.run(
        [*command, "--entrypoint", str(CONFORMANCE / program)],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
