# SPDX-License-Identifier: MIT
"""A TUF repository and a board's files in memory, with signatures that a test can make itself.

A signature here is the SHA-256 of the key's public part and the digest: anybody can forge it, but
who counts, and how often, is decided by the same code as for real ones. The real ones have their
tests in tests/host/test_tuf_keys.py.
"""

import json
from binascii import hexlify
from hashlib import sha256

from agent.crypto.steps import finish
from agent.errors import LinkError, Refused, StorageError
from agent.update.tuf import keys, trust
from agent.update.tuf.canonical import canonical
from agent.update.tuf.client import Client

NOW = 1800000000  # 2027-01-15T08:00:00Z
EXPIRES = "2027-02-01T00:00:00Z"
TOP = ("root", "timestamp", "snapshot", "targets")


def _signature(public, digest):
    return str(hexlify(sha256(public.encode() + digest).digest()), "utf-8")


class SimpleKeys:
    """In the place of `agent.update.tuf.keys`, to which it leaves keys of every other kind."""

    def verify(self, key, signature, message):
        yield
        if key[0] != "x":
            return (yield from keys.verify(key, signature, message))
        return key[2].encode() if signature == _signature(key[2], message.digest) else None


class World:
    """`signed`: role -> what will be signed next; `files`: what the server has."""

    def __init__(self):
        trust.keys = SimpleKeys()
        self.keys = {}
        self.files = {}
        self.requests = []
        self.fail_at = None  # number of the request that fails
        self.signed = {}
        self.signers = {}
        for name in TOP:
            self.signers[name] = [name]
            self.signed[name] = self.document(name)
        self.signed["root"]["consistent_snapshot"] = True
        self.signed["root"]["keys"] = self.keys_of(TOP)
        self.signed["root"]["roles"] = {name: {"keyids": [name], "threshold": 1} for name in TOP}
        self.signed["targets"]["targets"] = {}
        self.signed["snapshot"]["meta"] = {}
        self.signed["timestamp"]["meta"] = {}
        self.anchor = self.publish(*TOP)["root"]

    def document(self, kind):
        return {"_type": kind, "spec_version": "1.0.34", "version": 0, "expires": EXPIRES}

    def keys_of(self, names):
        keys = {}
        for name in names:
            keys[name] = {"keytype": "x", "scheme": "x", "keyval": {"public": "key " + name}}
        return keys

    def publish(self, *names):
        """New versions of these roles, listed in the order that makes a consistent set."""
        done = {}
        for name in ("targets", "snapshot", "timestamp", "root"):
            if name in names:
                self.signed[name]["version"] += 1
                done[name] = self.sign(name)
                listed = {"version": self.signed[name]["version"]}
                if name == "targets":
                    self.signed["snapshot"]["meta"]["targets.json"] = listed
                elif name == "snapshot":
                    self.signed["timestamp"]["meta"]["snapshot.json"] = listed
        return done

    def sign(self, name):
        """Signs the role as it stands, and puts it where it is fetched."""
        signed = self.signed[name]
        body = json.dumps(signed).encode()
        hashed = sha256()
        finish(canonical(body, 0, hashed.update))
        digest = hashed.digest()
        signatures = [
            {"keyid": signer, "sig": _signature("key " + signer, digest)}
            for signer in self.signers[name]
        ]
        data = json.dumps({"signatures": signatures, "signed": signed}).encode()
        path = name + ".json"
        if name != "timestamp":
            path = "{}.{}".format(signed["version"], path)
        self.files[path] = data
        return data

    async def fetch(self, path, max_length):
        self.requests.append(path)
        if len(self.requests) == self.fail_at:
            raise LinkError("link-lost")
        if path not in self.files:
            raise LinkError("not-found")
        if len(self.files[path]) > max_length:
            raise Refused("tuf-length")
        return self.files[path]

    def client(self, store, now=NOW, fetch=None):
        return Client(fetch or self.fetch, store, now)


class Store:
    """Files in memory; operation number `fail_at` fails, before or after it has happened."""

    def __init__(self):
        self.files = {}
        self.reads = []
        self.operations = 0
        self.fail_at = None
        self.fail_after = False

    def get(self, name):
        self.reads.append(name)
        return self.files.get(name)

    def put(self, name, data):
        self.change(name, data)

    def delete(self, name):
        self.change(name, None)

    def change(self, name, data):
        self.operations += 1
        fails = self.operations == self.fail_at
        if fails and not self.fail_after:
            raise StorageError("fs-write", name)
        if data is None:
            self.files.pop(name, None)
        else:
            self.files[name] = data
        if fails:
            raise StorageError("fs-write", name)
