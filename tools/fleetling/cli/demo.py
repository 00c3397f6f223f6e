# SPDX-License-Identifier: MIT
"""`fleetling demo`."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.live import Live

from fleetling.cli.screen import errors, output
from fleetling.demo.scene import NAMES, Scene
from fleetling.demo.story import Outcome, Step, play, steps
from fleetling.demo.view import LivePicture, plain_line, summary
from fleetling.errors import FleetlingError
from fleetling.simboard.process.interpreter import find_interpreter

REFRESH_HZ = 8
PICTURE_WIDTH = 110


@click.command("demo")
@click.option("--plain", is_flag=True, help="Lines of log instead of the live picture.")
@click.option("--keep", is_flag=True, help="Leave the boards running to look around; Ctrl-C ends.")
@click.option(
    "--broker",
    type=click.Choice(["mosquitto", "amqtt"]),
    default=None,
    help="The broker to use; without it mosquitto when it is installed, else amqtt.",
)
@click.option(
    "--svg",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the last picture to this file.",
)
@click.option("--virtual", is_flag=True, help="CPython boards in virtual time, as lines of log.")
def command(plain: bool, keep: bool, virtual: bool, broker: str | None, svg: Path | None) -> int:
    """Watch three simulated boards do the main job against a real broker, in under a minute.

    The boards run the agent on the real MicroPython interpreter. They make their keys, get their
    certificates, log in by mutual TLS, describe themselves, send heartbeats, obey commands, and
    survive a power cut, bad settings, a crash loop, a hang and a factory reset. Where there is no
    interpreter for this machine, they run on CPython, in virtual time.
    """
    if not virtual:
        try:
            find_interpreter()
        except FleetlingError as e:
            errors.print(f"{e.message}.\n{e.hint}", highlight=False)
            errors.print("Until then: the same story on CPython boards, in virtual time.\n")
            virtual = True
    if virtual:
        return _play_virtually()
    folder = Path(tempfile.mkdtemp(prefix="fleetling-demo-"))
    started = time.monotonic()
    story = steps()
    live = not plain and sys.stdout.isatty()
    lines = _Lines(live)
    try:
        with Scene(folder, broker=broker or "", on_line=lines.take) as scene:
            picture = LivePicture(scene.broker, NAMES, scene.operator.state, story)
            lines.picture = picture
            if live:
                _play_live(scene, story, picture)
            else:
                for step in play(scene, story):
                    output.print(plain_line(step), highlight=False, markup=False)
            seconds = time.monotonic() - started
            if svg is not None:
                picture.powered = {name: board.powered for name, board in scene.boards.items()}
                _save(picture, svg)
            output.print(summary(story, seconds), highlight=False)
            if keep:
                _linger(scene, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if any(step.outcome is Outcome.FAILED for step in story) else 0


class _Lines:
    """Lines of the boards' consoles: into the picture, or onto the terminal."""

    def __init__(self, live: bool) -> None:
        self.picture: LivePicture | None = None
        self._live = live

    def take(self, name: str, line: str) -> None:
        if self.picture is not None:
            self.picture.line(name, line)
        if not self._live and line.strip():
            output.print(f"    {name:>10} {line}", highlight=False, markup=False, style="dim")


def _play_virtually() -> int:
    from fleetling.demo.virtual_scene import VirtualScene

    story = steps()
    started = time.monotonic()
    lines = _Lines(live=False)
    with VirtualScene(lines.take) as scene:
        for step in play(scene, story):
            output.print(plain_line(step), highlight=False, markup=False)
    output.print(summary(story, time.monotonic() - started), highlight=False)
    return 1 if any(step.outcome is Outcome.FAILED for step in story) else 0


def _play_live(scene: Scene, story: list[Step], picture: LivePicture) -> None:
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(1 / REFRESH_HZ):
            picture.powered = {name: board.powered for name, board in scene.boards.items()}

    threading.Thread(target=follow, daemon=True).start()
    try:
        with Live(picture, console=output, refresh_per_second=REFRESH_HZ):
            for _ in play(scene, story):
                pass
            time.sleep(0.5)  # for a last look
    finally:
        ended.set()


def _linger(scene: Scene, folder: Path) -> None:
    files = scene.fleet.files
    output.print(
        f"\nStill running: broker on 127.0.0.1:{files.port}, boards and keys in {folder}.\n"
        "To listen in:\n"
        f"  mosquitto_sub -h 127.0.0.1 -p {files.port} --cafile {folder}/fleet-ca.pem "
        f"--cert {folder}/operator.pem --key {folder}/operator-key.pem -v -t 'fleetling/#'\n"
        "Ctrl-C ends it all.",
        highlight=False,
        soft_wrap=True,
    )
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        errors.print("Ending.")


def _save(picture: LivePicture, path: Path) -> None:
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - not a file
        console = Console(record=True, width=PICTURE_WIDTH, file=nowhere, force_terminal=True)
        console.print(picture)
    svg = console.export_svg(title="fleetling demo")
    # Rich asks for its font over the network; a picture in a repository should not.
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))
