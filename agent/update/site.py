# SPDX-License-Identifier: MIT
"""The repository as this board was told of it when it was flashed. Loaded for an update."""

from agent.errors import Refused
from agent.storage.nvsmap import open_nvs

FOLDER = "/fl/tuf"  # has its metadata, once that is trusted
_ROOT = 36  # a root's version (32 bits, little-endian) and SHA-256


class Site:
    """`url` ends in "/"; `root_version`, `root_digest`: the first root that is trusted;
    `await pause()` lets others run, and is to be called now and then; `alive()` checks in."""

    def __init__(self, runtime, pause, alive):
        factory = open_nvs(runtime.board, "fl_factory")
        url = (factory.get("repo") or b"").decode()
        root = factory.get("root") or b""
        if not url or len(root) != _ROOT:
            raise Refused("update-repository")
        self.url = url if url.endswith("/") else url + "/"
        self.root_version = int.from_bytes(root[:4], "little")
        self.root_digest = bytes(root[4:])
        self.clock = runtime.clock
        self.pause = pause
        self._alive = alive
        self._board = runtime.board
        self._ca = runtime.keyring.own.ca

    def http(self, deadline_s):
        """A connection for one job; https trusts the fleet's CA alone."""
        from agent.link import tls
        from agent.link.http import Http, dialer

        made = Http(self._board, dialer(lambda: tls.trusting(self._ca)), (), deadline_s)
        # Each wait is short, but a file, redirects or what is skipped may take many.
        made.alive = self._alive
        return made
