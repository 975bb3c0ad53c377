"""Whether a model needs Python code from its repository, which the runtime never executes.

Many configurations name such code (`auto_map`) for architectures that transformers or vLLM support meanwhile, and then
the code is not used. The tables of both packages are read without importing heavy modules.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def needs_remote_code(config: Mapping[str, Any]) -> bool:
    """False also if the supported architectures are unknown; vLLM decides then."""
    auto_map = config.get("auto_map")
    model_type = config.get("model_type")
    if not isinstance(auto_map, Mapping) or "AutoConfig" not in auto_map or not isinstance(model_type, str):
        return False
    known = known_types()
    return bool(known) and model_type not in known


def known_types() -> frozenset[str]:
    """Values of `model_type` that the installed packages support; empty if unknown."""
    found = [_of_transformers(), _of_vllm()]
    return frozenset().union(*found) if all(found) else frozenset()


def _of_transformers() -> frozenset[str]:
    try:
        transformers = importlib.import_module("transformers")
    except ImportError:
        return frozenset()
    return frozenset(transformers.CONFIG_MAPPING.keys())


def _of_vllm() -> frozenset[str]:
    package = importlib.util.find_spec("vllm")
    places = package.submodule_search_locations if package is not None else None
    if not places:
        return frozenset()
    try:
        tree = ast.parse((Path(places[0]) / "transformers_utils" / "config.py").read_text())
    except (OSError, SyntaxError):
        return frozenset()
    return frozenset(
        word.arg
        for node in ast.walk(tree)
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and _assigns(node, "_CONFIG_REGISTRY")
        if isinstance(node.value, ast.Call)
        for word in node.value.keywords
        if word.arg is not None
    )


def _assigns(node: ast.Assign | ast.AnnAssign, name: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)
