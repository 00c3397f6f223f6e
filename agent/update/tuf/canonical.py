# SPDX-License-Identifier: MIT
"""Canonical JSON, streamed: what TUF signatures are made over.

Source: http://wiki.laptop.org/go/Canonical_JSON, as securesystemslib writes it: names sorted, no
white space, only `"` and `\\` escaped, integers only.
"""

from micropython import const

from agent.update.tuf.document import elements, members, refuse, skip, string_end, text

_QUOTE = const(34)
_LIST = const(91)
_OBJECT = const(123)


def canonical(data, at, update):
    """Generator of steps: streams the canonical form of the value at `at` into `update(bytes)`."""
    view = memoryview(data)
    opened = []  # [what is left of an object or list, reversed; its end mark; is it the first]
    while True:
        c = data[at]
        if c == _OBJECT:
            update(b"{")
            left = sorted(members(data, at))
            left.reverse()
            opened.append([left, b"}", True])
        elif c == _LIST:
            update(b"[")
            left = list(elements(data, at))
            left.reverse()
            opened.append([left, b"]", True])
        elif c == _QUOTE:
            end = string_end(data, at)
            if data.find(b"\\", at, end) < 0:
                update(view[at:end])
            else:
                update(_quoted(text(data, at)))
        else:
            word = data[at : skip(data, at)]
            update(b"0" if word == b"-0" else word)
        while opened and not opened[-1][0]:
            update(opened.pop()[1])
            yield
        if not opened:
            return
        top = opened[-1]
        if not top[2]:
            update(b",")
        top[2] = False
        left = top[0]
        if top[1] == b"]":
            at = left.pop()
        else:
            name, at = left.pop()
            if left and left[-1][0] == name:
                refuse("twice: " + name)
            update(_quoted(name))
            update(b":")


def _quoted(value):
    return b'"' + value.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
