# SPDX-License-Identifier: MIT
"""Reads the JSON documents that come over the wire (RFC 8259), which strangers may have written.

The interpreter's own reader takes memory for each level that a document opens: 4 KB of brackets
are enough to exhaust a heap. So the depth is looked at first. And up to 1.25 it takes a document
that ends early for a whole one. It takes numbers and null for names, too.
"""

import json

from micropython import const

from agent.errors import Refused

_DEEPEST = const(8)
_QUOTE = const(34)
_BACKSLASH = const(92)


def parse(data, code):
    """The object (a dict) in `data`; Refused(code) when there is none, or it is too deep."""
    try:
        _check_depth(data)
        document = json.loads(data)
        _check_names(document)
    except ValueError:
        raise Refused(code)
    if not isinstance(document, dict):
        raise Refused(code)
    return document


def _check_depth(data):
    depth = 0
    in_string = escaped = False
    for byte in data:
        if escaped:
            escaped = False
        elif byte == _QUOTE:
            in_string = not in_string
        elif in_string:
            escaped = byte == _BACKSLASH
        elif byte in b"[{":
            depth += 1
            if depth > _DEEPEST:
                raise ValueError()
        elif byte in b"]}":
            depth -= 1
    if depth or in_string:
        raise ValueError()


def _check_names(value):
    if isinstance(value, dict):
        for name in value:
            if not isinstance(name, str):
                raise ValueError()
            _check_names(value[name])
    elif isinstance(value, list):
        for item in value:
            _check_names(item)
