"""The committed table of vLLM's arguments is what the pinned vLLM's own parser says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from support.engine import ROOT, vllm_python

GENERATOR = ROOT / "hack" / "generators" / "vllm_arguments.py"
TABLE = ROOT / "runtime" / "llmservice_contract" / "vllm_arguments.json"


def test_the_table_of_arguments_is_that_of_the_pinned_vllm(tmp_path: Path) -> None:
    printed = subprocess.run(
        [vllm_python(), GENERATOR], check=True, capture_output=True, text=True, timeout=300, cwd=tmp_path
    ).stdout
    now, kept = json.loads(printed), json.loads(TABLE.read_text())
    changed = {name for name in {*now["arguments"], *kept["arguments"]} if _row(now, name) != _row(kept, name)}
    assert changed == set(), f"print {TABLE.name} anew with {GENERATOR.name}, and give new arguments a ruling"
    assert printed == TABLE.read_text()


def _row(table: dict[str, dict[str, object]], name: str) -> object:
    return table["arguments"].get(name)
