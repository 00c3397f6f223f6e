# SPDX-License-Identifier: MIT
"""What is printed on boards: a CSV file for the label printer, and QR codes."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path

from fleetling.errors import FleetlingError
from fleetling.flashing.ledger import Entry

__all__ = ["COLUMNS", "check_template", "draw", "label_text", "write_labels"]

COLUMNS = ("id", "mac", "chip", "date", "qr")


def label_text(template: str, entry: Entry) -> str:
    """The text of a board's QR code.

    Args:
        template: with {id}, {mac}, {chip} or {date} in it, such as "https://x.example/{id}".

    Raises:
        FleetlingError: it names something else.
    """
    words = {
        "id": entry.device_id,
        "mac": entry.mac,
        "chip": entry.chip,
        "date": entry.flashed[:10],
    }
    try:
        return template.format_map(words)
    except (KeyError, ValueError, IndexError, AttributeError, TypeError) as e:
        raise FleetlingError(
            f"{template!r} is no text for labels", "Use {id}, {mac}, {chip} and {date}."
        ) from e


def check_template(template: str) -> None:
    """Refuses a template before any board is flashed.

    Raises:
        FleetlingError: it names what no label has.
    """
    label_text(template, Entry("id", "mac", "chip", "bound", "flashed"))


def write_labels(path: Path, entries: Iterable[Entry], template: str = "{id}") -> None:
    """Writes the labels of the boards that are done; the file is there whole or as it was.

    Raises:
        FleetlingError: it cannot be written.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for each in entries:
        if each.flashed:
            row = (each.device_id, each.mac, each.chip, each.flashed, label_text(template, each))
            rows.writerow(row)
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("w", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as e:
        raise FleetlingError(f"{path} cannot be written: {e}", "Name another file.") from e


def draw(text: str) -> str:
    """A QR code for a terminal.

    Raises:
        FleetlingError: segno is not installed.
    """
    try:
        import segno
    except ImportError as e:
        raise FleetlingError(
            "QR codes need segno, which is not installed", "pip install 'fleetling[flash]'"
        ) from e
    drawn = io.StringIO()
    segno.make(text, micro=False).terminal(drawn, compact=True)
    return drawn.getvalue()
