# SPDX-License-Identifier: MIT
from agent.log import Log


def test_the_ring_keeps_the_last_lines_within_their_width():
    written = []
    log = Log(lambda: 7, written.append, lines=3, width=24)
    for number in range(5):
        log.info("wing", "line {}".format(number))
    assert [line.strip() for line in log.tail(9)] == [
        "7 I wing: line 2",
        "7 I wing: line 3",
        "7 I wing: line 4",
    ]
    assert log.tail(1)[0].endswith("line 4")
    log.error("wing", "x" * 500)
    assert len(log.tail(1)[0]) == 24
    assert len(written) == 6


def test_a_line_stays_one_line():
    log = Log(lambda: 0, lambda line: None)
    log.error("task", "Traceback\n  File\n")
    assert "\n" not in log.tail(1)[0]


def test_lines_below_the_level_are_neither_kept_nor_written():
    written = []
    log = Log(lambda: 0, written.append)
    log.debug("wing", "hidden")
    log.set_level("D")
    log.debug("wing", "shown")
    assert len(written) == 1 and "shown" in log.tail(5)[0]
