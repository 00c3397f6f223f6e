# SPDX-License-Identifier: MIT
"""Turns device source into code objects, once for all lives.

Every `while` loop gets a call at the head of its body, so that a busy wait takes virtual time, and
a loop without an end meets the watchdog instead of hanging the test. `for` loops end anyway.
Reading `.errno` asks a function, since CPython leaves it empty where OSError has one argument.
"""

from __future__ import annotations

import ast
from types import CodeType

__all__ = ["ERRNO_HOOK", "LOOP_HOOK", "compile_device"]

LOOP_HOOK = "__simboard_loop__"
ERRNO_HOOK = "__simboard_errno__"

_cache: dict[tuple[str, bytes, str], CodeType] = {}


class _Hooks(ast.NodeTransformer):
    def visit_While(self, node: ast.While) -> ast.While:
        self.generic_visit(node)
        name = ast.Name(LOOP_HOOK, ast.Load())
        call = ast.Expr(ast.Call(name, [], []))
        for new in (name, call, call.value):
            ast.copy_location(new, node)
        node.body.insert(0, call)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        if node.attr != "errno" or not isinstance(node.ctx, ast.Load):
            return node
        name = ast.copy_location(ast.Name(ERRNO_HOOK, ast.Load()), node)
        return ast.copy_location(ast.Call(name, [node.value], []), node)


def compile_device(path: str, source: bytes, mode: str = "exec") -> CodeType:
    """Compiles a file of the board. Sweeps boot the same files thousands of times, so what was
    compiled is kept, by path and content."""
    key = (path, source, mode)
    code = _cache.get(key)
    if code is None:
        tree = _Hooks().visit(ast.parse(source, path, mode))
        code = compile(tree, path, mode, dont_inherit=True)
        _cache[key] = code
    return code
