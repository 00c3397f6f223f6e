# SPDX-License-Identifier: MIT
"""A board at its raw prompt, real or simulated, and what it answers."""

from __future__ import annotations

import contextlib
import json
import textwrap
import time
from collections.abc import Iterator
from typing import Any

from fleetling.errors import FleetlingError
from fleetling.port.prompt import RaisedError
from fleetling.port.remote import Mpremote

__all__ = ["Asked", "DeviceError"]

PATIENCE_S = 30


class DeviceError(AssertionError):
    """What a program on the board let through: its trace."""


class Asked:
    """`port` is what pyserial opens."""

    def __init__(self, port: str) -> None:
        self._port = port
        self._prompt = self._opened()

    def _opened(self) -> Mpremote:
        until = time.monotonic() + PATIENCE_S
        while True:
            prompt = None
            try:
                prompt = Mpremote(self._port)
                prompt.enter()
                prompt.soft_reset()
                return prompt
            except FleetlingError:
                # A board that is starting, or whose USB has not come back yet.
                if prompt is not None:
                    prompt.close()
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    def run(self, program: str, silence_s: float = PATIENCE_S) -> str:
        """Runs a program; what it prints."""
        try:
            said = self._prompt.run(textwrap.dedent(program), silence_s)
        except RaisedError as e:
            raise DeviceError(e.trace) from None
        return said.decode(errors="replace")

    def ask(self, program: str, silence_s: float = PATIENCE_S) -> Any:
        """Runs a program that leaves its answer, of JSON's types, in `result`."""
        tail = "\nimport json as _json\nprint('@' + _json.dumps(result))"
        said = self.run(textwrap.dedent(program) + tail, silence_s)
        answers = [line[1:] for line in said.splitlines() if line.startswith("@")]
        if not answers:
            raise DeviceError(f"no answer, but:\n{said}")
        return json.loads(answers[-1])

    def fails(self, program: str) -> list[Any]:
        """[name of the exception, its arguments] of a program that has to fail."""
        body = textwrap.indent(textwrap.dedent(program).strip(), "    ")
        return list(
            self.ask(
                f"try:\n{body}\n    result = None\n"
                "except Exception as e:\n    result = [type(e).__name__, list(e.args)]\n"
            )
        )

    def after(self, program: str, wait_s: float = 1) -> None:
        """Runs a program that ends with a reset within `wait_s`, and waits for the prompt of the
        next life."""
        self.leave(program)
        time.sleep(wait_s)
        self.back()

    def leave(self, program: str) -> None:
        """Runs a program that ends with a reset, and gives the port away."""
        self._prompt.let_go(textwrap.dedent(program))
        self.close()

    def back(self) -> None:
        """The prompt of a board that was left: what it did is ended."""
        self._prompt = self._opened()

    def soft_reset(self) -> None:
        self._prompt.soft_reset()

    def close(self) -> None:
        self._prompt.close()

    @contextlib.contextmanager
    def restoring(self, save: str, restore: str) -> Iterator[Any]:
        """What `save` leaves in `result` is put back by `restore`, as its `saved`."""
        saved = self.ask(save)
        try:
            yield saved
        finally:
            self.run(f"saved = {saved!r}\n{textwrap.dedent(restore)}")
