# SPDX-License-Identifier: MIT
"""What a targets role says about one path: the target itself, or the roles to ask next.

Specification 1.0.34, 4.5 and 5.6.7; succinct roles by TAP 15. In a pattern, `*` stands for any
characters but "/", and `?` for one such character; nothing else is special.
"""

from binascii import hexlify
from hashlib import sha256

from agent.update.tuf import metadata
from agent.update.tuf.document import boolean, elements, fields, integer, plain, refuse
from agent.update.tuf.document import text as read_text


def find_targets(data, signed, paths):
    """Those of the targets that stand in the role, in one pass, by path: each
    {"path", "length", "hashes": {algorithm: digest}, "custom"}."""
    at = fields(data, signed, ("targets",))
    if "targets" not in at:
        refuse("no targets")
    found = fields(data, at["targets"], paths)
    return {path: _target(data, found[path], path) for path in found}


def _target(data, at, path):
    one = fields(data, at, ("length", "hashes", "custom"))
    if "length" not in one or "hashes" not in one:
        refuse("no length or hashes")
    return {
        "path": path,
        "length": integer(data, one["length"], 0),
        "hashes": metadata.read_hashes(data, one["hashes"]),
        "custom": plain(data, one["custom"]) if "custom" in one else None,
    }


def find_delegations(data, signed, path, limits):
    """([(name, authority) in order of appearance], is the last one terminating) for the path."""
    at = fields(data, signed, ("delegations",))
    if "delegations" not in at:
        return [], False
    at = fields(data, at["delegations"], ("keys", "roles", "succinct_roles"))
    if "keys" not in at or ("roles" in at) == ("succinct_roles" in at):
        refuse("delegations")
    if "succinct_roles" in at:
        role = at["succinct_roles"]
        authority = metadata.read_authority(data, role, at["keys"], limits)
        return [(_bin(data, role, path, limits), authority)], True
    chosen = []
    names = set()
    for role in elements(data, at["roles"]):
        one = fields(data, role, ("name", "terminating", "paths", "path_hash_prefixes"))
        if "name" not in one or "terminating" not in one:
            refuse("no name or terminating")
        name = _role_name(read_text(data, one["name"]), limits)
        if name in names:
            refuse("role twice: " + name)
        if len(names) == limits.roles:
            refuse("too many roles")
        names.add(name)
        authority = metadata.read_authority(data, role, at["keys"], limits)
        if _is_delegated(data, one, path):
            chosen.append((name, authority))
            if boolean(data, one["terminating"]):
                return chosen, True
    return chosen, False


def glob(pattern, path):
    """Whether the path matches. Time is at most the product of both lengths."""
    p = s = 0
    star = -1  # position of the last star in the pattern; `retry`: where its match ends for now
    retry = 0
    while s < len(path):
        if p < len(pattern) and pattern[p] == "*":
            star = p
            retry = s
            p += 1
        elif p < len(pattern) and (
            pattern[p] == path[s] or (pattern[p] == "?" and path[s] != "/")
        ):
            p += 1
            s += 1
        elif star >= 0 and path[retry] != "/":
            retry += 1
            s = retry
            p = star + 1
        else:
            return False
    while p < len(pattern) and pattern[p] == "*":
        p += 1
    return p == len(pattern)


def _is_delegated(data, one, path):
    if ("paths" in one) == ("path_hash_prefixes" in one):
        refuse("paths")
    if "paths" in one:
        for at in elements(data, one["paths"]):
            if glob(read_text(data, at, 1024), path):
                return True
        return False
    digest = str(hexlify(sha256(path.encode()).digest()), "utf-8")
    for at in elements(data, one["path_hash_prefixes"]):
        if digest.startswith(read_text(data, at, 64)):
            return True
    return False


def _bin(data, role, path, limits):
    """The name of the one of 2**bit_length roles that a path falls to."""
    one = fields(data, role, ("bit_length", "name_prefix"))
    if "bit_length" not in one or "name_prefix" not in one:
        refuse("succinct_roles")
    bits = integer(data, one["bit_length"], 1)
    if bits > 32:
        refuse("bit_length")
    number = int.from_bytes(sha256(path.encode()).digest()[:4], "big") >> (32 - bits)
    suffix = "{:x}".format(number)
    width = (bits + 3) // 4
    prefix = read_text(data, one["name_prefix"])
    return _role_name(prefix + "-" + "0" * (width - len(suffix)) + suffix, limits)


def _role_name(name, limits):
    """The name, unless it would take a top-level role's place or is too long for a file."""
    if not name or name in metadata.TOP_LEVEL or len(name.encode()) > limits.name:
        refuse("role name")
    return name
