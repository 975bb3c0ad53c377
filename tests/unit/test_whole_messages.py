"""Messages are whole: no part of a string that spans lines is left out of its assignment."""

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [path for top in ("operator", "runtime", "hack") for path in sorted((ROOT / top).rglob("*.py"))]


def left_out(tree: ast.AST) -> Iterator[int]:
    """Lines with a string that stands alone after an assignment to a local variable. After ``self.name = ...`` such a
    string documents the attribute."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for block in ast.walk(function):
                body = getattr(block, "body", None)
                for before, after in pairwise(body if isinstance(body, list) else []):
                    plain = isinstance(before, ast.Assign) and isinstance(before.targets[0], ast.Name)
                    if plain and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant | ast.JoinedStr):
                        yield after.lineno


def test_a_part_that_is_left_out_is_found() -> None:
    assert list(left_out(ast.parse('def message(n):\n    text = f"{n} pods "\n    "are ready"\n    return text'))) == [
        3
    ]
    assert not list(left_out(ast.parse('def message(n):\n    text = f"{n} pods " "are ready"\n    return text')))


def test_no_part_of_a_message_is_left_out() -> None:
    found = [f"{path.relative_to(ROOT)}:{line}" for path in SOURCES for line in left_out(ast.parse(path.read_text()))]
    assert not found
