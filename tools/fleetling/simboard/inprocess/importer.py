# SPDX-License-Identifier: MIT
"""Imports as the board does them, into a module table of its own.

Invariants:
- device code never sees a module of the host: what is neither built in nor found along the
  board's own path is ImportError("no module named 'x'");
- `modules` is the board's `sys.modules`: only what came from files, dropped by deleting it there;
- every module has `builtins` as its built-ins, with the names that MicroPython has.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from .files import Volume
from .source import compile_device

__all__ = ["Importer"]


class _Place(Protocol):
    """Somewhere that modules are looked for."""

    def is_folder(self, path: str) -> bool: ...
    def read(self, path: str) -> bytes | None: ...


class _OnBoard:
    def __init__(self, volume: Volume) -> None:
        self._volume = volume

    def is_folder(self, path: str) -> bool:
        try:
            return self._volume.stat(path)[0] == 0x4000
        except OSError:
            return False

    def read(self, path: str) -> bytes | None:
        try:
            with self._volume.open(path, "rb") as file:
                data: bytes = file.read()
                return data
        except OSError:
            return None


class _OnHost:
    def is_folder(self, path: str) -> bool:
        return Path(path).is_dir()

    def read(self, path: str) -> bytes | None:
        return Path(path).read_bytes() if Path(path).is_file() else None


class Importer:
    """`path` is the board's sys.path, `extra_paths` are folders of the host, searched last."""

    def __init__(
        self,
        builtin: Mapping[str, Any],
        builtins: dict[str, Any],
        volume: Volume,
        path: list[str],
        extra_paths: list[Path],
    ) -> None:
        self.builtin = dict(builtin)
        self.builtins = builtins
        self.modules: dict[str, ModuleType] = {}
        self.path = path
        self.source_bytes: dict[str, int] = {}
        self._board = _OnBoard(volume)
        self._host = _OnHost()
        self._extra_paths = extra_paths
        self._packages: dict[str, tuple[_Place, str]] = {}
        builtins["__import__"] = self._import

    def import_module(self, name: str) -> Any:
        """The module of this dotted name."""
        module: Any = None
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            module = self._one(".".join(parts[:depth]))
        return module

    def run(self, path: str, source: bytes, namespace: dict[str, Any]) -> None:
        """Executes a file of the board in `namespace`."""
        namespace["__builtins__"] = self.builtins
        exec(compile_device(path, source), namespace)  # noqa: S102 - that is its purpose

    def loaded_bytes(self) -> int:
        """Source length of what is loaded now."""
        return sum(self.source_bytes[name] for name in self.modules)

    def _import(
        self,
        name: str,
        namespace: Mapping[str, Any] | None = None,
        local: object = None,
        fromlist: tuple[str, ...] | None = (),
        level: int = 0,
    ) -> Any:
        """`__import__`: the head of the dotted name, or with a `fromlist` its tail."""
        if level:
            name = self._absolute(name, namespace or {}, level)
        module = self.import_module(name)
        if not fromlist:
            return module if level else self.import_module(name.split(".")[0])
        for wanted in fromlist:
            if wanted == "*" or hasattr(module, wanted):
                continue
            if name not in self._packages:
                raise ImportError(f"can't import name {wanted}")
            try:
                self._one(f"{name}.{wanted}")
            except ImportError as e:
                if f"{name}.{wanted}" not in str(e):
                    raise
                raise ImportError(f"can't import name {wanted}") from None
        return module

    def _absolute(self, name: str, namespace: Mapping[str, Any], level: int) -> str:
        parts = str(namespace.get("__name__", "")).split(".")
        if "__path__" in namespace:
            level -= 1
        if level > len(parts) or (level == len(parts) and level):
            raise ImportError("can't perform relative import")
        package = parts[: len(parts) - level]
        return ".".join(package + ([name] if name else []))

    def _one(self, name: str) -> Any:
        """One module whose parent is imported already."""
        if name in self.modules:
            return self.modules[name]
        if name in self.builtin:
            return self.builtin[name]
        parent, _, tail = name.rpartition(".")
        if not parent:
            places: list[tuple[_Place, str]] = [
                (self._board, entry) for entry in self.path if entry != ".frozen"
            ]
            places += [(self._host, str(entry)) for entry in self._extra_paths]
        elif parent in self._packages:
            places = [self._packages[parent]]
        else:
            raise ImportError(f"no module named '{name}'")
        for place, folder in places:
            module = self._load(name, place, f"{folder}/{tail}" if folder else tail)
            if module is not None:
                if parent:
                    setattr(self.modules[parent], tail, module)
                return module
        raise ImportError(f"no module named '{name}'")

    def _load(self, name: str, place: _Place, base: str) -> ModuleType | None:
        package = place.is_folder(base)
        path = f"{base}/__init__.py" if package else f"{base}.py"
        source = place.read(path)
        if source is None:
            if not package and place.read(f"{base}.mpy") is not None:
                raise ImportError(f"{base}.mpy: compiled code does not run on the CPython board")
            if not package:
                return None
            source = b""
        module = ModuleType(name)
        del module.__dict__["__spec__"], module.__dict__["__loader__"]
        module.__dict__["__file__"] = path
        if package:
            module.__dict__["__path__"] = base
            self._packages[name] = (place, base)
        self.modules[name] = module
        self.source_bytes[name] = len(source)
        try:
            self.run(path, source, module.__dict__)
        except BaseException:
            self.modules.pop(name, None)
            raise
        return module
