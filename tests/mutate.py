# SPDX-License-Identifier: MIT
"""`make mutations`: seeds each fault in a copy of the checkout and runs the tests that have to
catch it; the table goes into docs/faults.md. Nothing is changed in the checkout itself.

    python tests/mutate.py [WORD]     only those whose description has the word; writes nothing
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from faults import ROOT, write
from mutations import MUTATIONS, Mutation

WORKERS = 2
LIMIT_S = 120
FAILED = 1  # pytest's exit code for tests that failed, and nothing worse


def copy_of_checkout(folder: Path) -> None:
    """What git knows of, and what is new and not ignored, as it is on disk now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())


def run(folder: Path, *nodes: str, expected: int = FAILED) -> bool:
    """Whether pytest ends with that exit code, in the copy and with the copy's product."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder / "tools"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:xdist",
        "-p",
        "no:cacheprovider",
    ]
    process = subprocess.Popen(
        [*command, *nodes],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with the interpreter that it has started
        process.communicate()
        return expected == FAILED  # a test that hangs is noticed, too
    if process.returncode not in (0, expected):
        print(said[-3000:])
    return process.returncode == expected


def survivors(folder: Path, mutation: Mutation) -> list[str]:
    """The tests that ought to fail and do not."""
    path = folder / mutation.file
    good = path.read_text()
    assert good.count(mutation.old) == 1, mutation.what
    path.write_text(good.replace(mutation.old, mutation.new))
    try:
        return [node for node in mutation.caught_by if not run(folder, node)]
    finally:
        path.write_text(good)


def main(word: str = "") -> int:
    chosen = [mutation for mutation in MUTATIONS if word in mutation.what]
    started = time.monotonic()
    waiting: queue.SimpleQueue[Mutation] = queue.SimpleQueue()
    for mutation in chosen:
        waiting.put(mutation)
    survived: dict[str, list[str]] = {}

    with tempfile.TemporaryDirectory(prefix="fleetling-mutations-") as name:
        folders = [Path(name, str(number)) for number in range(WORKERS)]
        for folder in folders:
            copy_of_checkout(folder)
        nodes = sorted({node for mutation in chosen for node in mutation.caught_by})
        if not run(folders[0], *nodes, expected=0):
            print("Without a fault the tests do not pass.")
            return 1

        def work(folder: Path) -> None:
            while True:
                try:
                    mutation = waiting.get_nowait()
                except queue.Empty:
                    return
                survived[mutation.what] = survivors(folder, mutation)
                print(
                    "SURVIVED" if survived[mutation.what] else "caught  ",
                    mutation.what,
                    flush=True,
                )

        threads = [threading.Thread(target=work, args=(folder,)) for folder in folders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    seconds = time.monotonic() - started
    missed = {what: nodes for what, nodes in survived.items() if nodes}
    print(f"{len(chosen) - len(missed)} of {len(chosen)} caught, in {seconds:.0f} s")
    for what, nodes in missed.items():
        print(f"  {what}\n    not by {', '.join(nodes)}")
    if not word and not missed:
        write(mutations=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
