"""`python -m llmservice_runtime.adapters REQUEST`: fetches one adapter, and prints the result as one line of JSON."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import msgspec

from llmservice_contract.adapters import MOST_BYTES
from llmservice_runtime.adapters.check import Base
from llmservice_runtime.adapters.fetch import base_shapes, fetch, model_directory
from llmservice_runtime.adapters.refused import AdapterRefused
from llmservice_runtime.adapters.request import LONGEST_MESSAGE, FetchRequest, FetchResult


def main() -> int:
    """Prints the result; the exit code is 0 whatever it is."""
    asked = msgspec.json.decode(sys.argv[1], type=FetchRequest)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, MOST_BYTES))
    model = model_directory(asked.model, asked.model_revision)
    shapes = base_shapes(model) if model is not None else {}
    base = Base(asked.max_rank, asked.hidden_size, asked.layers, shapes)
    try:
        result = FetchResult(digest=fetch(asked.adapter, Path(asked.into), base, asked.most))
    except AdapterRefused as error:
        result = FetchResult(reason=error.reason, message=str(error)[:LONGEST_MESSAGE])
    print(json.dumps(msgspec.to_builtins(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
