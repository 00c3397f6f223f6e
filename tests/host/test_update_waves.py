# SPDX-License-Identifier: MIT
"""Rollouts in waves, on values: who is next, and when it ends."""

from __future__ import annotations

import random

import pytest

from fleetling.errors import FleetlingError
from fleetling.fleet.state import Device
from fleetling.update.standing import At, Report, Standing
from fleetling.update.waves import Do, Step, next_step, parse_share, parse_waves, queue


def at(kind: At, online: bool = True) -> Standing:
    return Standing("x", online, kind, None, Report())


def step(kinds: str, sizes: list[int], stop_at: float | None = 0.05) -> Step:
    """The next step for boards a, b, c, ... that stand as the letters say: n(one), p(ending),
    o(pen), d(one), b(ad), a(way), h(eld)."""
    letters = {"n": At.NONE, "p": At.PENDING, "o": At.OPEN, "d": At.DONE, "b": At.BAD}
    letters |= {"a": At.AWAY, "h": At.HELD}
    order = [chr(97 + n) for n in range(len(kinds))]
    given = {name: at(letters[kind]) for name, kind in zip(order, kinds, strict=True)}
    return next_step(order, given, sizes, stop_at)


@pytest.mark.parametrize(
    ("text", "count", "sizes"),
    [
        ("1,10%,100%", 50, [1, 5, 50]),
        ("1,10%,100%", 5, [1, 5]),
        ("1,10%,100%", 1, [1]),
        ("5,10%,100%", 20, [5, 20]),
        ("0.5%, 100%", 1000, [5, 1000]),
        ("10%", 30, [3]),
        ("100", 30, [30]),
        ("33%,100%", 10, [4, 10]),
    ],
)
def test_waves_that_make_sense(text: str, count: int, sizes: list[int]) -> None:
    assert parse_waves(text, count) == sizes


@pytest.mark.parametrize(
    "text",
    ["", "a", "1,,2", "0", "0%", "101%", "-1", "1.5", "10%,1%", "3,2", "1;2", "5%,3", "1e3"],
)
def test_waves_that_make_none(text: str) -> None:
    with pytest.raises(FleetlingError) as caught:
        parse_waves(text, 100)
    assert caught.value.hint


def test_shares() -> None:
    assert [parse_share(text) for text in ("5%", "12.5%", "100%", "0", "7")] == [
        *(0.05, 0.125, 1.0, 0.0, 0.07)
    ]
    for text in ("", "x", "101%", "-1%", "5%%"):
        with pytest.raises(FleetlingError):
            parse_share(text)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ("nnnnn", Step(Do.ASSIGN, ("a",), 1)),
        ("pnnnn", Step(Do.WAIT, ("a",), 1)),
        ("onnnn", Step(Do.WAIT, ("a",), 1)),
        ("dnnnn", Step(Do.ASSIGN, ("b", "c"), 2)),
        ("ddnnn", Step(Do.ASSIGN, ("c",), 2)),  # a publishing that was cut
        ("ddonn", Step(Do.WAIT, ("c",), 2)),
        ("ddann", Step(Do.ASSIGN, ("d", "e"), 3)),  # who is away holds nobody up
        ("ddhnn", Step(Do.ASSIGN, ("d", "e"), 3)),
        ("annnn", Step(Do.WAIT, ("a",), 1)),  # but somebody must have confirmed it
        ("hnnnn", Step(Do.WAIT, ("a",), 1)),
        ("bnnnn", Step(Do.STOP, ("a",), 1)),
        ("dobnn", Step(Do.STOP, ("c",), 2)),
        ("ddddd", Step(Do.END, (), 3)),
        ("ddada", Step(Do.END, (), 3)),
    ],
)
def test_steps(kinds: str, expected: Step) -> None:
    assert step(kinds, [1, 3, 5]) == expected


def test_the_threshold() -> None:
    twenty = "d" * 19 + "b"
    assert step(twenty + "n" * 20, [20, 40], 0.05).do is Do.STOP
    assert step(twenty + "n" * 20, [20, 40], 0.051).do is Do.ASSIGN
    assert step("d" * 20 + "n" * 20, [20, 40], 0.0).do is Do.ASSIGN  # nothing has failed
    assert step("d" * 93 + "b" * 7 + "n", [100, 101], 0.07).do is Do.STOP  # 0.07 * 100 > 7
    assert step("bbb", [3], None).do is Do.END
    assert step("bn", [1, 2], None).do is Do.STOP  # nobody has confirmed it, nor will


def test_who_has_it_and_who_is_online_comes_first() -> None:
    devices = [Device("far"), Device("near", online=True), Device("old"), Device("b", online=True)]
    given = {d.id: at(At.DONE if d.id == "old" else At.NONE) for d in devices}
    assert queue(devices, given) == ["old", "near", "b", "far"]


@pytest.mark.parametrize("seed", range(300))
def test_whatever_boards_do_no_wave_overtakes_and_a_bad_release_stays_small(seed: int) -> None:
    """A fleet that behaves at random, with rollouts that are cut and begun again."""
    dice = random.Random(seed)
    count = dice.randint(1, 120)
    sizes = parse_waves(dice.choice(["1,10%,100%", "2,50%,100%", "5%,20%,60%", "1,2,4,8"]), count)
    badness = dice.choice([0.0, 0.02, 0.3, 1.0])
    stop_at = dice.choice([0.05, 0.2])
    boards = {f"b{n}": At.NONE for n in range(count)}
    online = {name: dice.random() < 0.9 for name in boards}

    def look(order: list[str]) -> Step:
        given = {name: at(kind, online[name]) for name, kind in boards.items()}
        return next_step(order, given, sizes, stop_at)

    def order() -> list[str]:
        devices = [Device(name, online=online[name]) for name in sorted(boards)]
        return queue(devices, {name: at(kind) for name, kind in boards.items()})

    line = order()
    for _ in range(4000):
        if dice.random() < 0.05:
            line = order()  # somebody runs the command again
        found = look(line)
        has = [name for name, kind in boards.items() if kind is not At.NONE]
        bad = [name for name in has if boards[name] is At.BAD]
        if found.do is Do.STOP:
            assert bad
            break
        if found.do is Do.END:
            assert len(has) == sizes[-1]
            break
        if found.do is Do.ASSIGN:
            assert len(bad) < stop_at * len(has) or not bad
            after = len(has) + len(found.ids)
            wave = next(n for n, size in enumerate(sizes) if size >= after)
            assert after == sizes[wave]
            before = sizes[wave - 1] if wave else 0
            if before >= len(has) and wave:
                # A new wave: nobody who has begun is at it still, and somebody runs it.
                assert not any(boards[n] in (At.OPEN, At.PENDING) for n in has)
                assert any(boards[n] is At.DONE for n in has)
            cut = dice.randint(1, len(found.ids)) if dice.random() < 0.2 else len(found.ids)
            for name in found.ids[:cut]:
                assert boards[name] is At.NONE
                boards[name] = At.PENDING if online[name] else At.AWAY
            continue
        assert found.ids
        for name in found.ids:
            if dice.random() < 0.5:
                if boards[name] is At.AWAY:
                    online[name], boards[name] = True, At.PENDING
                elif boards[name] is At.PENDING:
                    boards[name] = At.OPEN
                elif boards[name] is At.OPEN:
                    boards[name] = At.BAD if dice.random() < badness else At.DONE
    else:
        raise AssertionError("it never ended")
    if badness == 1.0:
        assert sum(kind is not At.NONE for kind in boards.values()) <= sizes[0]
