# SPDX-License-Identifier: MIT
"""Ctrl-C that is heard wherever it comes.

Python raises KeyboardInterrupt in whatever the main thread runs. Where that is a finalizer, or a
callback of a weak reference, it is told to `sys.unraisablehook` and forgotten, and the command
goes on. Here the signal comes again a moment later, when the finalizer has ended; and once more,
if it then falls into another. Callbacks of C code are the same case, and Cython's print the
exception, too, before they forget it: that is left out.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

__all__ = ["heard_everywhere"]

AGAIN_S = 0.01


@contextmanager
def heard_everywhere() -> Iterator[None]:
    """While it is entered, by the main thread, no Ctrl-C is lost."""
    if not hasattr(signal, "pthread_kill"):  # Windows
        yield
        return
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # a shell's job in the background
    number = signal.SIGTERM if ignored else signal.SIGINT
    hook, shown = sys.unraisablehook, sys.excepthook
    told, tell = os.pipe()

    def insist(lost: sys.UnraisableHookArgs) -> None:
        # A finalizer runs within anything: no lock is taken here, and no thread started.
        if lost.exc_type is KeyboardInterrupt:
            os.write(tell, b"\0")
        else:
            hook(lost)

    def show(kind: type[BaseException], e: BaseException, trace: TracebackType | None) -> None:
        if kind is not KeyboardInterrupt:
            shown(kind, e, trace)

    def again() -> None:
        while os.read(told, 1):
            time.sleep(AGAIN_S)
            signal.pthread_kill(threading.main_thread().ident or 0, number)

    thread = threading.Thread(target=again, daemon=True, name="ctrl-c")
    thread.start()
    sys.unraisablehook, sys.excepthook = insist, show
    try:
        yield
    finally:
        sys.unraisablehook, sys.excepthook = hook, shown
        os.close(tell)
        thread.join()
        os.close(told)
