# SPDX-License-Identifier: MIT
"""Turns device source into code objects, once for all lives.

Every `while` loop gets a call at the head of its body, so that a busy wait takes virtual time, and
a loop without an end meets the watchdog instead of hanging the test. `for` loops end anyway.
"""

from __future__ import annotations

import ast
from types import CodeType

__all__ = ["LOOP_HOOK", "compile_device"]

LOOP_HOOK = "__simboard_loop__"

_cache: dict[tuple[str, bytes], CodeType] = {}


class _HookLoops(ast.NodeTransformer):
    def visit_While(self, node: ast.While) -> ast.While:
        self.generic_visit(node)
        name = ast.Name(LOOP_HOOK, ast.Load())
        call = ast.Expr(ast.Call(name, [], []))
        for new in (name, call, call.value):
            ast.copy_location(new, node)
        node.body.insert(0, call)
        return node


def compile_device(path: str, source: bytes) -> CodeType:
    """Compiles a file of the board. Sweeps boot the same files thousands of times, so what was
    compiled is kept, by path and content."""
    key = (path, source)
    code = _cache.get(key)
    if code is None:
        tree = _HookLoops().visit(ast.parse(source, path))
        code = compile(tree, path, "exec", dont_inherit=True)
        _cache[key] = code
    return code
