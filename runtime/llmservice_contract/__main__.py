"""`python -m llmservice_contract` prints docs/reference/engine-variables.md."""

from __future__ import annotations

import sys

from llmservice_contract.reference import engine_variables

if __name__ == "__main__":
    sys.stdout.write(engine_variables())
