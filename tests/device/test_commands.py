# SPDX-License-Identifier: MIT
import asyncio
import json

from support import Ended, FakeBoard, raises, raises_async, supervisor_of

from agent.commands import Commands
from agent.dispatch import parse
from agent.errors import AgentError, Refused


class FakeSession:
    def __init__(self):
        self.failures = {}
        self.handlers = {}
        self.sent = []
        self.closed = False

    def on(self, topic, handler):
        self.handlers[topic] = handler

    async def publish(self, topic, document, qos=0, retain=False):
        self.sent.append((topic, document))

    def connected(self):
        return True

    async def disconnect(self):
        self.closed = True


class FakeClock:
    def now(self):
        return 1000


class FakeRuntime:
    def __init__(self, board):
        self.board = board
        self.supervisor = supervisor_of(board)
        self.session = FakeSession()
        self.clock = FakeClock()
        self.log = self.supervisor.log


def make(board):
    runtime = FakeRuntime(board)
    Commands(runtime)
    return runtime.session, runtime.supervisor


async def send(session, **message):
    await session.handlers["down/command"](json.dumps(message).encode())


def test_what_is_not_a_command_is_refused():
    for payload in (
        b"",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"{}",
        b'{"id":"a"}',
        b'{"id":7,"name":"ping"}',
        b'{"id":"","name":"ping"}',
        b'{"id":"a","name":["ping"]}',
        b'{"id":"a","name":"ping","args":[1]}',
        b'{"id":"a","name":"ping","expires":"soon"}',
        b'{"id":"' + b"x" * 49 + b'","name":"ping"}',
    ):
        assert raises(Refused, parse, payload, 1000).code == "command-malformed", payload
    late = b'{"id":"a","name":"ping","expires":999}'
    assert raises(Refused, parse, late, 1000).code == "command-expired"
    assert parse(b'{"id":"a","name":"ping","expires":1000}', 1000) == ("a", "ping", {})


async def test_a_command_is_answered_once():
    session, _ = make(FakeBoard())
    await send(session, id="a", name="ping")
    await send(session, id="a", name="ping")
    assert len(session.sent) == 1
    topic, reply = session.sent[0]
    assert topic == "up/reply"
    assert reply["id"] == "a" and reply["status"] == "ok" and reply["result"]["at"] == 1000


async def test_errors_are_replies_too():
    session, supervisor = make(FakeBoard())

    async def fails(args):
        raise AgentError("it-failed", args["why"])

    supervisor.commands["fail"] = fails
    await send(session, id="a", name="nope")
    await send(session, id="b", name="fail", args={"why": "no disk"})
    assert session.sent[0][1]["code"] == "command-unknown"
    assert session.sent[1][1] == {
        "id": "b",
        "status": "error",
        "code": "it-failed",
        "detail": "no disk",
    }


async def test_a_reboot_replies_first_and_happens_once_across_the_reset():
    board = FakeBoard()
    session, _ = make(board)
    await raises_async(Ended, send(session, id="r1", name="reboot"))
    assert session.sent[0][1]["status"] == "ok" and session.closed
    board.cause = "hard"
    session, supervisor = make(board)
    assert supervisor.boot["why"] == "command"
    await send(session, id="r1", name="reboot")
    assert session.sent == []
    await send(session, id="r2", name="ping")
    assert len(session.sent) == 1


async def test_the_memory_of_ids_is_bounded():
    session, _ = make(FakeBoard())
    for number in range(40):
        await send(session, id=str(number), name="ping")
    await send(session, id="39", name="ping")
    assert len(session.sent) == 40
    await asyncio.sleep(0)
