# SPDX-License-Identifier: MIT
from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.version import VERSION
from fleetling.health.trace import frames, installed_agent

ROOT = Path(__file__).parents[2]


def crash(*rows: Any) -> dict[str, Any]:
    return {"trace": list(rows)}


def test_lines_of_the_agent_and_of_the_application(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import agent\n\nraise ValueError\n")
    lines = (ROOT / "agent/supervisor.py").read_text().splitlines()
    record = crash(["agent/supervisor.py", 30, "run"], ["app.py", 3, "main"])
    found = frames(record, installed_agent(VERSION), tmp_path)
    assert [frame.source for frame in found] == [lines[29].strip(), "raise ValueError"]
    other = frames(record, installed_agent("0.0.9"), None)
    assert [frame.source for frame in other] == ["", ""]
    assert (other[1].file, other[1].line, other[1].function) == ("app.py", 3, "main")


def test_a_board_makes_nobody_read_other_files(tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("KEY = 1\n")
    app = tmp_path / "app"
    app.mkdir()
    (app / "plain.txt").write_text("text\n")
    (app / "link.py").symlink_to(tmp_path / "secret.py")
    for file in ("../secret.py", str(tmp_path / "secret.py"), "link.py", "plain.txt", "none.py"):
        assert frames(crash([file, 1, "f"]), None, app)[0].source == "", file
    for file in ("agent/../LICENSE", "agent/../tests/conftest.py", "agent/nothing.py"):
        assert frames(crash([file, 1, "f"]), ROOT, app)[0].source == "", file


def test_what_is_no_trace_is_none(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("x\n")
    wrong: tuple[Any, ...] = (
        None,
        7,
        "x",
        {},
        [1],
        [[1, 2, 3]],
        [["app.py", "1", "f"]],
        [["app.py", 1]],
    )
    for trace in wrong:
        assert frames({"trace": trace}, None, tmp_path) == []
    assert frames(crash(["app.py", 99, "f"], ["app.py", -1, "f"]), None, tmp_path)[1].source == ""
