"""What the user states by files of a model and of prices that no cluster tells."""

from __future__ import annotations

import argparse
import json
from typing import Any

import yaml

from llmservice_contract.configuration import packed, relevant
from llmservice_contract.inspection import ModelFacts
from llmservice_operator.cli.failure import Failure
from llmservice_operator.cli.fit import arguments
from llmservice_operator.config import cost
from llmservice_operator.config.section import Problems
from llmservice_operator.resources.platform import Prices


def facts(options: argparse.Namespace) -> ModelFacts | None:
    """What --model-config and --model-index say; None without them. Raises Failure."""
    if options.model_config is None:
        return None
    configuration = packed(relevant(arguments.configuration(options.model_config)))
    total = arguments.total_size(options.model_index) if options.model_index else None
    return ModelFacts(configuration=configuration or "", weight_bytes=total)


def draft(options: argparse.Namespace) -> dict[str, Any] | None:
    """What --draft-model-config says; None without it. Raises Failure."""
    return arguments.configuration(options.draft_model_config) if options.draft_model_config is not None else None


def prices(options: argparse.Namespace) -> Prices:
    """What --prices says: the chart value ``cost``, or a file of values with it. Raises Failure."""
    if options.prices is None:
        return Prices()
    try:
        found = yaml.safe_load(arguments.text(options.prices))
    except yaml.YAMLError:
        raise Failure(f"{options.prices} is not YAML") from None
    value = found.get("cost", found) if isinstance(found, dict) else None
    if isinstance(value, dict) and "gpuHours" not in value:
        raise Failure(
            f"{options.prices} has no gpuHours: it needs the fields currency and gpuHours of the chart value cost"
        )
    try:
        return cost.read_prices(json.dumps(value, default=str))
    except Problems as error:
        raise Failure(f"{options.prices}: {error}") from None
