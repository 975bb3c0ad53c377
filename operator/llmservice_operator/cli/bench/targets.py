"""The latency targets that a bench checks: those of the command line, or of the service's spec."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Any

import pydantic

from llmservice_operator.api.scaling import Targets, seconds
from llmservice_operator.autoscaling.latency import PERCENTILES, Latency, Target
from llmservice_operator.cli.failure import Failure
from llmservice_operator.planner.model.spec_errors import explain

_FORM = re.compile(r"([A-Za-z]+)\.p([0-9]{2})=([0-9]{1,6}(?:\.[0-9]{1,3})?(?:ms|s))")


def parse(text: str) -> Target:
    """A target such as timeToFirstToken.p99=500ms. Raises argparse.ArgumentTypeError."""
    found = _FORM.fullmatch(text)
    latencies = [each.value for each in Latency]
    if found is None or found[1] not in latencies or int(found[2]) not in PERCENTILES or not seconds(found[3]):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a target such as timeToFirstToken.p99=500ms: latencies are {', '.join(latencies)}, "
            f"percentiles {', '.join(f'p{each}' for each in PERCENTILES)}"
        )
    return Target(Latency(found[1]), int(found[2]), seconds(found[3]))


def of_spec(spec: Mapping[str, Any]) -> tuple[Target, ...]:
    """The targets of spec.scaling; none without autoscaling. Raises Failure."""
    stated = (spec.get("scaling") or {}).get("targets")
    if not stated:
        return ()
    try:
        return Targets.model_validate(stated).all()
    except pydantic.ValidationError as error:
        raise Failure(f"spec.scaling.targets can't be read: {explain(error)}") from None


def least_requests(target: Target) -> int:
    """Fewest requests of which this percentile says anything: 100 for p99."""
    return -(-100 // (100 - target.percentile))
