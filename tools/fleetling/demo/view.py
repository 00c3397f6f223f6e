# SPDX-License-Identifier: MIT
"""What the demo shows: the boards, the steps of the story, and the last words of the consoles."""

from __future__ import annotations

from collections import deque

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fleetling.demo.story import Outcome, Step
from fleetling.fleet.state import Device, FleetState

__all__ = ["LivePicture", "plain_line", "summary"]

MARKS = {
    Outcome.WAITING: ("○", "dim"),
    Outcome.RUNNING: ("◐", "yellow"),
    Outcome.DONE: ("●", "green"),
    Outcome.FAILED: ("✗", "bold red"),
    Outcome.SKIPPED: ("–", "dim"),
}
KEPT_LINES = 7


def _boards(names: list[str], powered: dict[str, bool], state: FleetState) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
    for title, justify in (
        ("board", "left"),
        ("state", "left"),
        ("boot", "right"),
        ("reason", "left"),
        ("agent", "left"),
        ("heap free", "right"),
        ("signal", "right"),
        ("uptime", "right"),
        ("beats", "right"),
        ("events", "right"),
    ):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for name in names:
        device = state.devices.get(name, Device(name))
        figures = device.health.get("m", {})
        heap, rssi = (figures[name][3] if name in figures else None for name in ("heap", "rssi"))
        if device.online and device.birth.get("mode") == "safe":
            shown = Text("safe mode", "bold yellow")
        elif device.online:
            shown = Text("online", "green")
        elif powered[name]:
            shown = Text("starting", "yellow")
        else:
            shown = Text("no power", "red")
        why = str(device.birth.get("why") or device.birth.get("cause") or "")
        table.add_row(
            Text(name, "bold"),
            shown,
            str(device.boot or "–"),
            why,
            str(device.birth.get("agent", "–")),
            f"{heap // 1024} KB" if heap else "–",
            f"{rssi} dBm" if rssi else "–",
            f"{device.health['up']} s" if "up" in device.health else "–",
            str(device.heartbeats),
            str(device.last_event or "–"),
        )
    return table


def _story(story: list[Step]) -> Table:
    table = Table.grid(padding=(0, 1))
    for step in story:
        mark, style = MARKS[step.outcome]
        took = f"{step.seconds:.1f} s" if step.seconds else ""
        table.add_row(
            Text(mark, style), Text(step.title, style), Text(step.seen), Text(took, "dim")
        )
    return table


class LivePicture:
    """The whole picture, drawn anew at each refresh."""

    def __init__(
        self, broker: str, names: list[str], state: FleetState, story: list[Step]
    ) -> None:
        self.powered = dict.fromkeys(names, False)
        self._broker = broker
        self._names = names
        self._state = state
        self._story = story
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)

    def line(self, name: str, text: str) -> None:
        """Takes a line of a board's console."""
        self._lines.append(f"{name} {text.strip()}")

    def __rich__(self) -> RenderableType:
        log = Text("\n".join(self._lines), "dim", no_wrap=True, overflow="ellipsis")
        return Group(
            Panel(
                _boards(self._names, self.powered, self._state),
                title="[bold]Fleetling",
                subtitle=f"simulated ESP32 boards on MicroPython · mutual TLS · {self._broker}",
                border_style="cyan",
            ),
            Panel(_story(self._story), title="what happens", title_align="left"),
            Panel(log, title="consoles", title_align="left", border_style="dim"),
        )


def plain_line(step: Step) -> str:
    """One line of log for a step's new state."""
    if step.outcome is Outcome.RUNNING:
        return f"... {step.title}"
    word = {Outcome.DONE: "ok ", Outcome.FAILED: "FAILED", Outcome.SKIPPED: "skipped"}[
        step.outcome
    ]
    return f"{word} {step.title}: {step.seen} ({step.seconds:.1f} s)"


def summary(story: list[Step], seconds: float) -> str:
    """The last line: what came of it all."""
    done = sum(step.outcome is Outcome.DONE for step in story)
    failed = [step.title for step in story if step.outcome is Outcome.FAILED]
    if failed:
        return f"{done} of {len(story)} steps in {seconds:.0f} s. Failed: {', '.join(failed)}"
    return f"All {done} steps in {seconds:.0f} s."
