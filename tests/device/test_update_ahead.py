# SPDX-License-Identifier: MIT
import os

from support import raises_async

from agent.errors import LinkError
from agent.storage import files
from agent.update import ahead, record
from agent.update.spare import Spare

FOLDER = "/tmp/fleetling-test-ahead"
TIMESTAMP = b'{"signed":{"meta":{"snapshot.json":{"length":9,"version":12}},"version":40}}'
SNAPSHOT = (
    b'{"signed":{"_type":"snapshot","meta":{"pump.json":{"version" :\n 7},'
    b'"targets.json":{"version":3}},"spec_version":"1.0.31","version":12}}'
)
ROOT = b'{"signed":{"consistent_snapshot":true,"spec_version":"1.0.31","version":5}}'
USUAL = {
    "timestamp.json": TIMESTAMP,
    "12.snapshot.json": SNAPSHOT,
    "3.targets.json": b"targets",
    "7.pump.json": b"pump" * 2000,
    "1.root.json": b"first",
    "2.root.json": b"second",
}


class Http:
    """A server's files over a connection that gives 1,000 bytes at most."""

    def __init__(self, there):
        self.there = there
        self.asked = []
        self.closed = 0

    async def get(self, url):
        name = url[len("http://x/metadata/") :]
        self.asked.append(name)
        found = self.there.get(name, 404)
        self.body = b"" if isinstance(found, int) else found
        return found if isinstance(found, int) else 200

    async def readinto(self, buffer):
        part = self.body[: min(len(buffer), 1000)]
        buffer[: len(part)] = part
        self.body = self.body[len(part) :]
        return len(part)

    async def close(self):
        self.closed += 1


class Site:
    url = "http://x/"
    root_version = 1

    def __init__(self, there):
        self.connection = Http(there)

    def http(self, deadline_s):
        return self.connection

    async def pause(self):
        pass


async def bring(there, paths=("pump/1.app",), wanted=(), root=None):
    """What was asked for."""
    for folder in (FOLDER, FOLDER + "/tuf"):
        files.make_folder(folder)
    ahead.FOLDER = FOLDER + "/tuf"
    record.AHEAD = FOLDER + "/ahead"
    files.remove(ahead.FOLDER + "/root.json")
    if root:
        files.replace(ahead.FOLDER + "/root.json", root)
    site = Site(there)
    try:
        await ahead.bring(site, paths, wanted)
    finally:
        assert site.connection.closed == 1
    return site.connection.asked


def lying():
    return sorted(os.listdir(FOLDER + "/ahead"))


async def test_what_the_client_will_ask_for_lies_there():
    asked = await bring(USUAL)
    assert asked[:2] == ["timestamp.json", "12.snapshot.json"]
    assert sorted(asked[2:4]) == ["3.targets.json", "7.pump.json"]
    assert asked[4:] == ["1.root.json", "2.root.json", "3.root.json"]
    source = ahead.Fetched(Spare())
    for name, data in USUAL.items():
        assert await source.read(name, 32768) == data
    assert (await raises_async(LinkError, source.read("3.root.json", 9))).code == "not-found"
    missing = await raises_async(LinkError, source.read("8.pump.json", 9))
    assert (missing.code, missing.detail) == ("update-ahead", "8.pump.json")
    await source.close()
    assert lying() == []


async def test_each_file_is_held_against_its_cap():
    await bring(USUAL)
    source = ahead.Fetched(Spare())
    assert len(await source.read("7.pump.json", 8000)) == 8000
    assert (await raises_async(LinkError, source.read("7.pump.json", 7999))).code == "http-long"


async def test_roots_after_the_trusted_one_and_what_an_earlier_life_wanted():
    asked = await bring(
        dict(USUAL, **{"6.root.json": b"sixth"}), ("valve/2.app",), ["x.json"], ROOT
    )
    assert asked == [
        "timestamp.json",
        "12.snapshot.json",
        "3.targets.json",
        "x.json",
        "6.root.json",
        "7.root.json",
    ]


async def test_a_body_without_end_stops_at_the_greatest_cap():
    endless = dict(USUAL, **{"timestamp.json": bytes(100000)})
    assert (await raises_async(LinkError, bring(endless))).code == "http-long"


async def test_what_was_fetched_before_it_failed_does_not_stay():
    for failing in ({"2.root.json": 500}, {"1.root.json": bytes(100000)}):
        await raises_async(LinkError, bring(dict(USUAL, **failing)))
        assert lying() == []


async def test_bytes_of_which_nobody_knows_what_they_are():
    for timestamp in (
        b"",
        b"\xff" * 300,
        b'"snapshot.json"',
        b'"snapshot.json""version"',
        b'"snapshot.json":{"version":"../../x"}',
        b'"snapshot.json":{"version":' + b"9" * 400,
    ):
        asked = await bring(dict(USUAL, **{"timestamp.json": timestamp}))
        assert [name for name in asked if "/" in name or len(name) > 30] == []
        assert asked[0] == "timestamp.json" and asked[-1] == "3.root.json"


async def test_a_server_that_fails_is_no_server_without_the_file():
    for status in (500, 301, 206):
        error = await raises_async(LinkError, bring(dict(USUAL, **{"2.root.json": status})))
        assert (error.code, error.detail) == ("http-status", str(status))


async def test_roots_without_end():
    more = {"{}.root.json".format(number): b"root" for number in range(1, 99)}
    asked = await bring(dict(USUAL, **more))
    assert asked[-1] == "32.root.json"


async def test_the_greatest_cap_is_the_client_s():
    from agent.update.tuf.metadata import Limits

    most = max(Limits.root, Limits.timestamp, Limits.snapshot, Limits.targets)
    await bring(dict(USUAL, **{"7.pump.json": bytes(most)}))
    over = dict(USUAL, **{"7.pump.json": bytes(most + 1)})
    assert (await raises_async(LinkError, bring(over))).code == "http-long"
