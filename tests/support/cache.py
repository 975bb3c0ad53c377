"""Where the project keeps what takes long to make: programs, environments, the local cluster."""

import os
from pathlib import Path

CACHE = Path(os.environ.get("LLMSERVICE_CACHE") or Path.home() / ".cache" / "llmservice")
