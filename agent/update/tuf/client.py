# SPDX-License-Identifier: MIT
"""The client workflow (specification 1.0.34, 5): which file is read or fetched when.

All decisions are TrustedSet's. Files are stored as soon as they are trusted, root first, so that a
cut between two of them leaves an older but consistent set, and the next refresh goes on from it.

fetch  `async fetch(path, max_length) -> bytes`; LinkError("not-found") for a file that is not
       there (404), any other LinkError for a failure; never more than max_length bytes
store  get(role) -> bytes or None, put(role, bytes), delete(role): whole files, atomic
now    Unix seconds, the same for every decision of this object: one client, one update
"""

import gc
from hashlib import sha256

from agent.crypto.steps import finish_async
from agent.errors import LinkError, Refused
from agent.update.tuf import metadata
from agent.update.tuf.delegations import find_delegations, find_targets
from agent.update.tuf.store import quote
from agent.update.tuf.trust import TrustedSet, fingerprint


class Client:
    def __init__(self, fetch, store, now, limits=metadata.Limits, pause=None):
        self.fetch = fetch
        self.store = store
        self.limits = limits
        self.pause = pause
        self.now = now
        self.trusted = None
        self._seen = {}  # role -> fingerprint of what was verified; saves doing it again

    async def begin(self, version, digest):
        """Fetches the provisioned root by version and SHA-256, unless there is a root already."""
        if self.store.get("root") is not None:
            return
        data = await self.fetch("{}.root.json".format(version), self.limits.root)
        if sha256(data).digest() != digest:
            raise Refused("tuf-hash", "root")
        await self.anchor(data)

    async def anchor(self, data):
        """Stores a first root that the caller vouches for."""
        await self._run(TrustedSet(0, self.limits).update_root(data))
        self.store.put("root", data)

    async def refresh(self):
        """Brings root, timestamp, snapshot and top-level targets up to date, or raises."""
        self.trusted = TrustedSet(self.now, self.limits)
        self._seen = {}
        await self._root()
        await self._timestamp()
        await self._snapshot()
        await self._targets("targets", self.trusted.root.roles["targets"])

    async def find(self, path):
        """After `refresh`: what the trusted roles say of a target, as `find_targets` has it.

        Roles are asked in pre-order, depth first, each once. Refused("tuf-unknown") when none of
        them describes the path.
        """
        target = (await self.find_all([path]))[path]
        if target is None:
            raise Refused("tuf-unknown", path)
        return target

    async def find_all(self, paths):
        """{path: what `find` says, or None}. Each path is searched by itself; those whose turn
        is the same role at the same time have it from one reading of the document."""
        found = {}
        searches = []  # (path, stack of (role, authority) whose top is next, names of those asked)
        for path in paths:
            for part in path.split("/"):
                if part in ("", ".", ".."):
                    raise Refused("tuf-path", path)
            found[path] = None
            searches.append((path, [("targets", self.trusted.root.roles["targets"])], set()))
        while searches:
            name, authority = asked = searches[0][1][-1]
            data = await self._targets(name, authority)
            signed = metadata.unsigned(data)
            targets = find_targets(
                data, signed, [one[0] for one in searches if one[1][-1] == asked]
            )
            for path, waiting, visited in searches:
                if waiting[-1] != asked:
                    continue
                if path in targets:
                    found[path] = target = targets[path]
                    target["role"] = name
                    waiting.clear()
                    continue
                visited.add(name)
                waiting.pop()
                chosen, terminating = find_delegations(data, signed, path, self.limits)
                if terminating:
                    waiting.clear()
                chosen.reverse()
                waiting.extend(chosen)
                most = self.limits.visits
                over = len(waiting) > most
                while waiting and waiting[-1][0] in visited:
                    waiting.pop()
                if over or (waiting and len(visited) == most):
                    raise Refused("tuf-visits", path)
            data = None
            searches = [one for one in searches if one[1]]
        return found

    def file_path(self, target):
        """Where a target lies below the repository's target folder."""
        path = target["path"]
        if not self.trusted.root.consistent:
            return path
        folder, slash, name = path.rpartition("/")
        hashes = target["hashes"]
        digest = hashes.get("sha256") or hashes.get("sha512")
        if not digest:
            raise Refused("tuf-hash", path)
        return folder + slash + "".join(["{:02x}".format(c) for c in digest]) + "." + name

    async def _root(self):
        trusted = self.trusted
        data = self.store.get("root")
        if data is None:
            raise Refused("tuf-root")
        await self._run(trusted.update_root(data))
        for _ in range(self.limits.rotations):
            path = "{}.root.json".format(trusted.root.version + 1)
            try:
                data = await self.fetch(path, self.limits.root)
            except LinkError as e:
                if e.code != "not-found":
                    raise
                break
            await self._run(trusted.update_root(data))
            if trusted.rotated:  # before the new root, beside which nothing would tell that
                self.store.delete("timestamp")
                self.store.delete("snapshot")
            self.store.put("root", data)
        data = None
        trusted.require_fresh("root")

    async def _timestamp(self):
        trusted = self.trusted
        await self._stored("timestamp", trusted.update_timestamp)
        data = await self.fetch("timestamp.json", self.limits.timestamp)
        if await self._run(trusted.update_timestamp(data)):
            self.store.put("timestamp", data)
        trusted.require_fresh("timestamp")

    async def _snapshot(self):
        trusted = self.trusted
        if await self._stored("snapshot", trusted.update_snapshot):
            return
        data = await self._fetch_listed("snapshot", trusted.timestamp.meta, self.limits.snapshot)
        await self._run(trusted.update_snapshot(data))
        self.store.put("snapshot", data)

    async def _targets(self, name, authority):
        """The bytes of a targets role, verified; from the store if they are the listed ones."""
        trusted = self.trusted
        listed = trusted.listed(name)
        data = self.store.get(name)
        if data is not None and len(data) <= self.limits.targets:
            mark = fingerprint(data, authority)
            if self._seen.get(name) == mark:
                return data
            try:
                await self._run(trusted.update_targets(data, name, authority))
                self._seen[name] = mark
                return data
            except Refused:
                data = None  # an older version, or another delegation's: fetch
        data = await self._fetch_listed(name, listed, self.limits.targets)
        await self._run(trusted.update_targets(data, name, authority))
        self.store.put(name, data)
        self._seen[name] = fingerprint(data, authority)
        return data

    async def _stored(self, name, update):
        """Offers the stored file, if any; returns what `update` returns, False when refused."""
        data = self.store.get(name)
        if data is None:
            return False
        try:
            return await self._run(update(data, True))
        except Refused:
            return False  # signed by a key that has gone, or damaged: as if it were not there

    async def _fetch_listed(self, name, listed, longest):
        version, length, _ = listed
        if length is not None:
            if length > longest:
                raise Refused("tuf-length", name)
            longest = length
        path = quote(name) + ".json"
        if self.trusted.root.consistent:
            path = "{}.{}".format(version, path)
        return await self.fetch(path, longest)

    async def _run(self, steps):
        gc.collect()
        return await finish_async(steps, self.pause)
