"""`python -m support.fetch_process SOURCE`: the subcommand `fetch` for a server on this machine. SOURCE is the URL of a
repository, or an s3:// prefix."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from llmservice_contract.source import ObjectPrefix, Repository
from llmservice_runtime.fetch import command


def main() -> int:
    text = sys.argv[1]
    hub, _, name = text.rpartition("/org/")
    source = ObjectPrefix(text) if text.startswith("s3://") else Repository(f"org/{name}", hub)
    log = Path(os.environ["TERMINATION_LOG"])
    return command.run(source, None, os.environ, log, trusted=frozenset({"127.0.0.1"}))


if __name__ == "__main__":
    sys.exit(main())
