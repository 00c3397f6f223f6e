# SPDX-License-Identifier: MIT
"""The `asyncio` module of the board: just what MicroPython's has, on `tasks.Core`."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from .net import Net
from .streams import Stream, open_connection
from .tasks import CancelledError, Core, Suspend, Task, TimeoutError, Waiters

__all__ = ["make_asyncio"]


class _Primitive:
    """What waits; device code makes these without naming the loop."""

    core: Core

    def __init__(self) -> None:
        self._waiters = Waiters(self.core)

    def _wait(self) -> Suspend:
        return Suspend(lambda: self._waiters.add(self.core.current_task()))


class _Event(_Primitive):
    def __init__(self) -> None:
        super().__init__()
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        self._waiters.wake_all()

    def clear(self) -> None:
        self._set = False

    async def wait(self) -> bool:
        if not self._set:
            await self._wait()
        return True


class _ThreadSafeFlag(_Primitive):
    """One waiter; the flag is cleared by the wait that it ends."""

    def __init__(self) -> None:
        super().__init__()
        self._set = False

    def set(self) -> None:
        self._set = True
        self._waiters.wake_all()

    def clear(self) -> None:
        self._set = False

    async def wait(self) -> None:
        while not self._set:
            await self._wait()
        self._set = False


class _Lock(_Primitive):
    def __init__(self) -> None:
        super().__init__()
        self._owner: Task | bool = False

    def locked(self) -> bool:
        return self._owner is not False

    def release(self) -> None:
        if self._owner is False:
            raise RuntimeError("Lock not acquired")
        self._owner = False
        self._waiters.wake_all()

    async def acquire(self) -> bool:
        while self._owner is not False:
            await self._wait()
        self._owner = True
        return True

    async def __aenter__(self) -> bool:
        return await self.acquire()

    async def __aexit__(self, *exc: object) -> None:
        self.release()


class _Funcs:
    """Time-outs and joining."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def _task(self, awaitable: Any) -> Task:
        return awaitable if isinstance(awaitable, Task) else self._core.create_task(awaitable)

    async def wait_for_ms(self, awaitable: Any, timeout: int | None) -> Any:
        """Runs `awaitable` in a task of its own; cancels it when the time is up."""
        task = self._task(awaitable)
        if timeout is None:
            return await task
        waiter = self._core.current_task()
        expired = False

        def expire() -> None:
            nonlocal expired
            if not task.finished:
                expired = True
                if waiter.waits_for is not None:
                    waiter.cancel()

        due = self._core.life.clock.now_us + max(0, timeout) * 1000
        timer = self._core.life.clock.call_at(due, expire)
        try:
            result = await task
        except (CancelledError, Exception):
            if expired:
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()
        if expired:
            raise TimeoutError
        return result

    async def wait_for(self, awaitable: Any, timeout: float | None) -> Any:
        ms = None if timeout is None else int(timeout * 1000)
        return await self.wait_for_ms(awaitable, ms)

    async def gather(self, *awaitables: Any, return_exceptions: bool = False) -> list[Any]:
        """The first exception ends it, and the others run on; cancelling it cancels all."""
        core = self._core
        tasks = [self._task(a) for a in awaitables]
        waiters = Waiters(core)
        failed: list[Task] = []

        def on_done(task: Task) -> None:
            if task.error is not None and not return_exceptions:
                failed.append(task)
            if waiters and (failed or all(t.finished for t in tasks)):
                waiters.wake_all()

        for task in tasks:
            task.on_done = on_done
        try:
            while not failed and not all(t.finished for t in tasks):
                await Suspend(lambda: waiters.add(core.current_task()))
        except CancelledError:
            for task in tasks:
                task.cancel()
            raise
        if failed and failed[0].error is not None:
            raise failed[0].error
        return [t.result if t.error is None else t.error for t in tasks]


class _Loop:
    """What `get_event_loop` gives: the loop is the board's, there is one."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def create_task(self, coro: Any) -> Task:
        return self._core.create_task(coro)

    def run_until_complete(self, awaitable: Any) -> Any:
        task = awaitable if isinstance(awaitable, Task) else self._core.create_task(awaitable)
        return self._core.run_until_complete(task)

    def run_forever(self) -> None:
        self._core.run_until_complete(None)

    def close(self) -> None:
        return None


def make_asyncio(core: Core, net: Net) -> ModuleType:
    """The module object for one life."""
    module = ModuleType("asyncio")
    funcs = _Funcs(core)
    loop = _Loop(core)

    def new_event_loop() -> _Loop:
        core.abandon()
        return loop

    async def connect(host: str, port: int, ssl: Any = None, server_hostname: Any = None) -> Any:
        return await open_connection(core, net, host, port, ssl, server_hostname)

    module.__dict__.update(
        CancelledError=CancelledError,
        TimeoutError=TimeoutError,
        Task=Task,
        Event=type("Event", (_Event,), {"core": core}),
        Lock=type("Lock", (_Lock,), {"core": core}),
        ThreadSafeFlag=type("ThreadSafeFlag", (_ThreadSafeFlag,), {"core": core}),
        StreamReader=Stream,
        StreamWriter=Stream,
        create_task=core.create_task,
        current_task=core.current_task,
        run=core.run,
        run_until_complete=core.run_until_complete,
        sleep=core.sleep,
        sleep_ms=core.sleep_ms,
        wait_for=funcs.wait_for,
        wait_for_ms=funcs.wait_for_ms,
        gather=funcs.gather,
        get_event_loop=lambda: loop,
        new_event_loop=new_event_loop,
        open_connection=connect,
    )
    return module
