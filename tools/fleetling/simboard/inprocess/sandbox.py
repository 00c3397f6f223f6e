# SPDX-License-Identifier: MIT
"""All that device code sees during one life, put together.

`Sandbox.alone()` is for unit tests of device code: a blank chip, virtual time, the network, no
file system; modules come from folders of the host.

    sandbox = Sandbox.alone(extra_paths=[ROOT])
    records = sandbox.import_module("agent.storage.records")
"""

from __future__ import annotations

import builtins
import random
import sys
from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NoReturn

from .aio import make_asyncio
from .blocking import make_socket, wrap_socket
from .console import Console
from .errors import error_number
from .files import Volume, make_os, make_vfs
from .importer import Importer
from .life import Life
from .net import Net
from .shim import chip_module
from .source import ERRNO_HOOK, LOOP_HOOK, compile_device
from .stdlib import make_stdlib
from .system import UNIX_2000, exception_text, make_gc, make_micropython, make_time
from .tasks import Core, Task
from .tls import make_ssl

__all__ = ["BUILTINS", "Sandbox"]

# As `dir(builtins)` lists them on MicroPython, less what needs its compiler.
BUILTINS = """
    ArithmeticError AssertionError AttributeError BaseException EOFError Ellipsis Exception
    GeneratorExit ImportError IndentationError IndexError KeyError KeyboardInterrupt LookupError
    MemoryError NameError NotImplemented NotImplementedError OSError OverflowError RuntimeError
    StopAsyncIteration StopIteration SyntaxError SystemExit TypeError UnicodeError ValueError
    ZeroDivisionError __build_class__ abs all any bin bool bytearray bytes callable chr
    classmethod compile complex delattr dict dir divmod enumerate eval exec filter float
    frozenset getattr globals hasattr hash hex id int isinstance issubclass iter len list locals
    map max memoryview min next object oct ord property range repr reversed round set setattr
    slice sorted staticmethod str sum super tuple type zip
""".split()  # noqa: SIM905

_Uname = namedtuple("_Uname", "sysname nodename release version machine")


class _Implementation(tuple[Any, ...]):
    """MicroPython's is a named tuple, with names that CPython's refuse."""

    def __new__(cls, **values: Any) -> _Implementation:
        made = super().__new__(cls, values.values())
        made.__dict__.update(values)
        return made


class Sandbox:
    """The module table, built-ins and loop of one life of a board."""

    def __init__(
        self,
        life: Life,
        chip: Any,
        net: Net,
        volume: Volume,
        console: Console,
        source: random.Random,
        extra_paths: Sequence[Path] = (),
    ) -> None:
        self.life = life
        self.chip = chip
        self.net = net
        self.volume = volume
        self.console = console
        self.core = Core(life, self._report)
        self._random = source
        self.importer = Importer({}, self._builtins(), volume, ["", ".frozen", "/lib"], [])
        self.importer._extra_paths.extend(extra_paths)
        self.importer.builtin.update(self._modules())
        self.main = ModuleType("__main__")

    @classmethod
    def alone(
        cls, extra_paths: Sequence[Path] = (), seed: int = 0, unix: int = 1_767_225_600
    ) -> Sandbox:
        """A sandbox that runs in the caller's own stack, with no file system."""
        net = Net()
        chip_parts = chip_module("chip"), chip_module("flash")
        flash = chip_parts[1].Flash(chip_parts[1].MemoryStore(0x400000))
        chip = chip_parts[0].Chip(
            flash,
            lambda: net.clock.now_us // 1000,
            lambda: unix + net.clock.now_us // 1_000_000,
            seed=seed,
        )
        life = Life(net.clock, chip, None)
        volume = Volume(None, life.check)
        return cls(life, chip, net, volume, Console(), random.Random(seed), extra_paths)

    def import_module(self, name: str) -> Any:
        return self.importer.import_module(name)

    def run_source(self, path: str, source: bytes) -> None:
        """Executes a file in `__main__`, as boot.py and main.py are, one after the other."""
        self.main.__dict__["__file__"] = path
        self.importer.run(path, source, self.main.__dict__)

    def exception_text(self, error: BaseException) -> str:
        return exception_text(error, self._is_device)

    # --- the parts

    def _is_device(self, at: TracebackType) -> bool:
        return at.tb_frame.f_builtins is self.importer.builtins

    def _report(self, task: Task) -> None:
        assert task.error is not None
        self.console.write("Task exception wasn't retrieved\n")
        self.console.write(f"future: <Task> coro= {getattr(task.coro, '__name__', '')}\n")
        self.console.write(self.exception_text(task.error))

    def _builtins(self) -> dict[str, Any]:
        names = {name: getattr(builtins, name) for name in BUILTINS}

        def board_print(*args: Any, sep: str = " ", end: str = "\n", file: Any = None) -> None:
            self.life.check()
            (self.console if file is None else file).write(sep.join(map(str, args)) + end)

        def board_pow(base: Any, exponent: Any, modulus: Any = None) -> Any:
            if modulus is None:
                return pow(base, exponent)
            return 0 if exponent < 0 else pow(base, exponent, modulus)

        def execfile(path: str) -> None:
            self.importer.run(path, self.volume.fs().read_file(self.volume.path(path)), {})

        def board_compile(source: Any, path: str, mode: str) -> Any:
            source = source.encode() if isinstance(source, str) else bytes(source)
            return compile_device(path, source, mode)

        # A namespace that device code names gets the board's built-ins, not the host's; without
        # one, the caller's own holds, as CPython would have taken it from the frame.
        def board_run(run: Any, mode: str) -> Any:
            def call(source: Any, space: Any = None, local: Any = None) -> Any:
                code = source
                if isinstance(source, str | bytes | bytearray):
                    code = board_compile(source, "<string>", mode)
                frame = sys._getframe(1)
                if space is None:
                    space, local = frame.f_globals, frame.f_locals
                space.setdefault("__builtins__", names)
                return run(code, space, space if local is None else local)

            return call

        names.update(
            compile=board_compile,
            eval=board_run(eval, "eval"),
            exec=board_run(exec, "exec"),
            __name__="builtins",
            print=board_print,
            pow=board_pow,
            open=self.volume.open,
            execfile=execfile,
        )
        names[LOOP_HOOK] = self.life.loop
        names[ERRNO_HOOK] = error_number
        return names

    def _modules(self) -> dict[str, Any]:
        chip = self.chip
        modules: dict[str, Any] = make_stdlib(self.volume.open, self._random.getrandbits(32))
        modules.update(chip.modules())
        ssl = make_ssl(self.core, lambda: int(chip.now_2000()) + UNIX_2000, self.urandom)
        ssl.SSLContext.wrap_socket = wrap_socket
        socket = make_socket(self.core, self.net)
        modules["umqtt"] = ModuleType("umqtt")
        modules["umqtt.simple"] = chip_module("umqtt").make(socket)
        modules.update(
            asyncio=make_asyncio(self.core, self.net),
            gc=make_gc(self.importer.loaded_bytes, lambda: chip.heap_held),
            micropython=make_micropython(),
            os=make_os(self.volume, _Uname(*chip.uname()), self.urandom),
            socket=socket,
            ssl=ssl,
            tls=ssl,
            sys=self._sys(),
            time=make_time(self.life, chip.now_2000_ms),
            vfs=make_vfs(self.volume),
        )
        return modules

    def urandom(self, n: int) -> bytes:
        return self._random.randbytes(n)

    def _sys(self) -> ModuleType:
        uname = _Uname(*self.chip.uname())

        def print_exception(error: BaseException, file: Any = None) -> None:
            (self.console if file is None else file).write(self.exception_text(error))

        def leave(code: Any = 0) -> NoReturn:
            raise SystemExit(code)

        module = ModuleType("sys")
        module.__dict__.update(
            argv=[],
            byteorder="little",
            exit=leave,
            implementation=_Implementation(**self.chip.implementation()),
            maxsize=0x7FFFFFFF,
            modules=self.importer.modules,
            path=self.importer.path,
            platform="esp32",
            print_exception=print_exception,
            stderr=self.console,
            stdout=self.console,
            version=f"3.4.0; MicroPython {uname.version}",
            version_info=(3, 4, 0),
        )
        return module
