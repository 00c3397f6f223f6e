# SPDX-License-Identifier: MIT
"""The pass over a whole document before anything is read from it: JSON by RFC 8259, and no more.

MicroPython's own parser takes `{"a" 1}`, lets the last of two equal names win and has no bound on
depth; what two parsers read differently is where attacks live. Refused here: depth, numbers that
are not integers or have more than 18 digits, bad UTF-8, half a surrogate pair, trailing bytes.
"""

from micropython import const

from agent.update.tuf.document import blank, refuse, string_end, text, word_end

_QUOTE = const(34)
_COMMA = const(44)
_LIST = const(91)
_LIST_END = const(93)
_OBJECT = const(123)
_OBJECT_END = const(125)

# What the grammar allows next.
_VALUE = const(0)
_VALUE_OR_END = const(1)
_NAME = const(2)
_NAME_OR_END = const(3)
_AFTER = const(4)  # a comma or the end of what is open

_DIGITS = const(18)  # fits in 64 bits on any host
_STEP = const(64)  # tokens between two yields


def check(data, max_depth):
    """Generator of steps: refuses anything but one JSON value made of what TUF can sign."""
    opened = bytearray()
    state = _VALUE
    at = blank(data, 0)
    end = len(data)
    tokens = 0
    while at < end:
        tokens += 1
        if tokens % _STEP == 0:
            yield
        c = data[at]
        if state == _AFTER:
            if not opened:
                refuse("more than one value")
            is_object = opened[-1] == _OBJECT
            if c == _COMMA:
                state = _NAME if is_object else _VALUE
            elif c == (_OBJECT_END if is_object else _LIST_END):
                opened = opened[:-1]
            else:
                refuse("comma")
            at = blank(data, at + 1)
        elif state == _NAME or state == _NAME_OR_END:
            if c == _OBJECT_END and state == _NAME_OR_END:
                opened = opened[:-1]
                state = _AFTER
                at = blank(data, at + 1)
                continue
            at = blank(data, _checked_string(data, at))
            if data[at : at + 1] != b":":
                refuse("colon")
            at = blank(data, at + 1)
            state = _VALUE
        elif c == _LIST_END and state == _VALUE_OR_END:
            opened = opened[:-1]
            state = _AFTER
            at = blank(data, at + 1)
        elif c == _OBJECT or c == _LIST:
            opened.append(c)
            if len(opened) > max_depth:
                refuse("depth")
            state = _NAME_OR_END if c == _OBJECT else _VALUE_OR_END
            at = blank(data, at + 1)
        else:
            at = blank(data, _checked_string(data, at) if c == _QUOTE else _checked_word(data, at))
            state = _AFTER
    if opened or state != _AFTER:
        refuse("ends early")


def _checked_string(data, at):
    text(data, at)
    return string_end(data, at)


def _checked_word(data, at):
    """The position behind a number or one of the three names."""
    end = word_end(data, at)
    word = data[at:end]
    if word not in (b"true", b"false", b"null"):
        digits = word[1:] if word[:1] == b"-" else word
        for c in digits:
            if not 48 <= c <= 57:
                refuse("not an integer")
        if not digits or len(digits) > _DIGITS or (digits[0] == 48 and len(digits) > 1):
            refuse("not an integer")
    return end
