"""docs/reference/compatibility.md names tests that exist, and every proxy, metrics system and call that they know."""

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def _load() -> ModuleType:
    path = ROOT / "hack" / "generators" / "compatibility_reference.py"
    spec = importlib.util.spec_from_file_location("compatibility_reference", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


page = _load()
TESTS = sorted({test for group in page.groups() for row in group.rows for test in row.tests})


def keys_of(path: str, name: str) -> set[str]:
    """Of a dictionary at the top of a test file."""
    for each in ast.parse((ROOT / path).read_text()).body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.target.id == name:
            assert isinstance(each.value, ast.Dict)
            return {
                key.value for key in each.value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)
            }
    raise AssertionError(f"{path} has no {name}")


@pytest.mark.parametrize("test", TESTS)
def test_a_named_test_exists(test: str) -> None:
    assert page.missing(test) == ""


@pytest.mark.parametrize(
    "gone",
    [
        "tests/integrations/test_gone.py",
        f"{page.CLIENTS}::test_gone",
        f"{page.CLIENTS}::test_large_bodies_pass[no such proxy]",
    ],
)
def test_a_test_that_is_gone_is_found(gone: str) -> None:
    assert page.missing(gone)


@pytest.mark.parametrize(("path", "table"), [(page.CLIENTS, "PROXIES"), (page.SYSTEMS, "SYSTEMS")])
def test_no_proxy_or_system_is_left_out(path: str, table: str) -> None:
    named = {test.rpartition("[")[2].rstrip("]") for test in TESTS if test.startswith(path) and "[" in test}
    assert keys_of(path, table) <= named


def test_each_call_of_an_sdk_is_of_a_row() -> None:
    """The page has the names of the calls, without that of the SDK."""
    clients = page.clients()
    shown = {name for row in clients.rows for name in row.what.split(", ")}
    assert {call.partition(" ")[2] for call in page.calls()} <= shown


def test_versions_are_those_that_are_pinned() -> None:
    text = (ROOT / "docs" / "reference" / "compatibility.md").read_text()
    assert f"| {page.package('openai')} |" in text
    assert f"| {page.module('traefik', 'github.com/traefik/traefik/v3')} |" in text
