# SPDX-License-Identifier: MIT
"""The prompt of a board that is a process: friendly for people, raw for mpremote.

The unix port's own prompt has no raw mode, so this one speaks the protocol of MicroPython's
shared/runtime/pyexec.c: Ctrl-A raw, Ctrl-B friendly, Ctrl-C, Ctrl-D soft reset or, in raw mode,
run. Raw paste is declined. Ctrl-C reaches running code as KeyboardInterrupt, from the signal that
the host sends for it.
"""

import sys
import time

_BANNER = "MicroPython v1.25.0 on 2025-04-15; Generic ESP32 module with OTA with ESP32"
_SOFT_RESET = 5


class Console:
    """Bytes from and to the terminal."""

    def __init__(self):
        self._in = sys.stdin.buffer
        self._out = sys.stdout.buffer

    def byte(self):
        """The next byte; waits for ever when the terminal is gone, as a board without one does."""
        data = self._in.read(1)
        while not data:
            time.sleep(1)
            data = self._in.read(1)
        return data[0]

    def write(self, text):
        self._out.write(text.encode() if isinstance(text, str) else text)


def run(board, names, raw):
    """Serves the prompt; ends only by a soft reset. `raw`: a soft reset from raw mode came
    here."""
    console = Console()
    if raw:
        console.write("raw REPL; CTRL-B to exit\r\n>")
    else:
        _greet(console)
    while True:
        try:
            again = _raw(console, names) if raw else _friendly(console, names)
        except KeyboardInterrupt:
            if not raw:  # raw mode forgets the line without a word
                console.write("\r\n")
            again = raw
        if again is None:
            console.write("MPY: soft reboot\r\n")
            board.on_reset("{} raw".format(_SOFT_RESET) if raw else _SOFT_RESET)
        if again and not raw:
            console.write("raw REPL; CTRL-B to exit\r\n>")
        elif raw and not again:
            _greet(console)
        raw = again


def _greet(console):
    console.write('{}\r\nType "help()" for more information.\r\n'.format(_BANNER))


# --- raw mode: what comes up to Ctrl-D is run; "OK", output, Ctrl-D, errors, Ctrl-D


def _raw(console, names):
    """True: go on raw; False: friendly; None: soft reset."""
    source = bytearray()
    while True:
        byte = console.byte()
        if byte == 1:
            source = bytearray()
            console.write("raw REPL; CTRL-B to exit\r\n>")
        elif byte == 2:
            console.write("\r\n")
            return False
        elif byte == 3:
            source = bytearray()
        elif byte == 4:
            if not source:
                console.write("OK\r\n")
                return None
            console.write("OK")
            _run_raw(console, bytes(source), names)
            source = bytearray()
            console.write(">")
        elif byte == 5 and not source:
            console.byte()  # "A", then 1: an offer of raw paste, which is declined
            console.byte()
            console.write(b"R\x00")
        else:
            source.append(byte)


def _run_raw(console, source, names):
    try:
        code = compile(source, "<stdin>", "exec")
        exec(code, names)
        console.write(b"\x04\x04")
    except SystemExit:
        console.write(b"\x04\x04")
    except BaseException as e:  # noqa: BLE001 - the prompt shows whatever came
        console.write(b"\x04")
        sys.print_exception(e, sys.stdout)
        console.write(b"\x04")


# --- friendly mode


def _friendly(console, names):
    """True: raw; False: go on; None: soft reset."""
    lines = []
    while True:
        console.write("... " if lines else ">>> ")
        line, order = _line(console)
        if order == 1:
            return True
        if order == 2:
            console.write("\r\n")
            _greet(console)
            return False
        if order == 4 and not lines:
            console.write("\r\n")
            return None
        if order == 3:
            console.write("\r\n")
            lines = []
            continue
        lines.append(line)
        source = "\n".join(lines)
        if not _continues(source, line):
            lines = []
            if source.strip():
                _run_line(console, source, names)


def _line(console):
    """(text, None), or ("", the control character that came instead of one)."""
    line = bytearray()
    while True:
        byte = console.byte()
        if byte in (1, 2, 3) or (byte == 4 and not line):
            return "", byte
        if byte in (10, 13):
            console.write("\r\n")
            return line.decode(), None
        if byte in (8, 127):
            if line:
                line = line[:-1]
                console.write("\x08 \x08")
        elif byte == 9:
            line.extend(b"    ")
            console.write("    ")
        elif byte >= 32:
            line.append(byte)
            console.write(bytes((byte,)))


def _continues(source, line):
    """Whether more lines belong to this statement: an open block, bracket or string."""
    if source.count('"""') % 2 or source.count("'''") % 2:
        return True
    depth = 0
    for character in source:
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
    if depth > 0 or line.endswith("\\"):
        return True
    first = source.split("\n", 1)[0].rstrip()
    block = first.endswith(":") or first.startswith("@")
    return block and (line.strip() != "" or source == line)


def _run_line(console, source, names):
    try:
        code = compile(source, "<stdin>", "eval")
    except SyntaxError:
        code = None  # not an expression: a statement
    try:
        if code is None:
            exec(compile(source, "<stdin>", "exec"), names)
        else:
            value = eval(code, names)
            if value is not None:
                print(repr(value))
    except SystemExit:
        pass  # the firmware soft-resets here; at this prompt it would only lose the user's names
    except BaseException as e:  # noqa: BLE001 - the prompt shows whatever came
        sys.print_exception(e, sys.stdout)
