"""Paths of the project's cache: programs, environments, the local cluster."""

import os
from pathlib import Path

CACHE = Path(os.environ.get("LLMSERVICE_CACHE") or Path.home() / ".cache" / "llmservice")
