"""The Python distribution has one name, and nothing tells people to install another project."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

from llmservice_runtime.multi_node.start import DISTRIBUTION

ROOT = Path(__file__).parents[2]
NAME = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
# A requirement of the bare name, with or without an extra or a version; not a file, a label or a path.
ANOTHER_PROJECT = re.compile(
    r"""(?:\bpipx?|\buvx?)\b[^\n|]*\b(?:install|run|add)\b[^\n|]*[\s'"`]llmservice(?![\w./-])"""
)


def test_the_pattern_tells_our_name_from_the_other_project() -> None:
    for bad in (
        "pip install llmservice[plan] adds them",
        "pip install 'llmservice==0.3.0'",
        "pipx install llmservice",
        "python -m pip install -U llmservice\n",
        "uv pip install llmservice",
    ):
        assert ANOTHER_PROJECT.search(bad), bad
    for good in (
        "pipx install ./llmservice_operator-0.3.0-py3-none-any.whl",
        "pip install llmservice-operator",
        "helm install llmservice-operator charts/llmservice-operator",
    ):
        assert not ANOTHER_PROJECT.search(good), good


def test_no_page_and_no_message_installs_another_project() -> None:
    shown = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    texts = [ROOT / name for name in shown.split("\0") if name and not name.startswith("tests/")]
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in texts
        if path.suffix in {"", ".md", ".py", ".sh", ".yaml", ".txt", ".toml"} and path.is_file()
        for line in path.read_text().splitlines()
        if ANOTHER_PROJECT.search(line)
    ]
    assert not found


def test_the_code_asks_for_metadata_by_the_name_that_is_installed() -> None:
    assert DISTRIBUTION == NAME
    assert metadata.version(NAME)
