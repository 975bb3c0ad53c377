"""Creates broken copies of a working model on its volume: one file, mounted into a pod and run there.

    python spoil_models.py '{"NAME": {"config": {…}, "remove": "*.safetensors", "cut": "FILE", "failure": {…}}, …}'

Each NAME beside the model `tiny` is a copy of it, with these fields of its config.json changed, these files taken away,
this one cut short, and this as its failure.json.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

MODELS = Path("/models")
CUT_BYTES = 5000


def spoil(name: str, how: dict[str, Any]) -> None:
    """One of them."""
    directory = MODELS / name
    shutil.copytree(MODELS / "tiny", directory, dirs_exist_ok=True)
    config = directory / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **how.get("config", {})}))
    for file in directory.glob(how["remove"]) if "remove" in how else ():
        file.unlink()
    if "cut" in how:
        file = directory / how["cut"]
        file.write_bytes(file.read_bytes()[:CUT_BYTES])
    if "failure" in how:
        (directory / "failure.json").write_text(json.dumps(how["failure"]))


if __name__ == "__main__":
    for each, ways in json.loads(sys.argv[1]).items():
        spoil(each, ways)
