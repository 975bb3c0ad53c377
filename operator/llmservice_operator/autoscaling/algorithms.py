"""The autoscaling algorithms for ``spec.scaling.algorithm``.

To add one: a module with the two functions of ``AutoscalingAlgorithm``, and a row here.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from llmservice_operator.autoscaling import latency_algorithm
from llmservice_operator.autoscaling.algorithm import AutoscalingAlgorithm


class Algorithm(StrEnum):
    """How the number of replicas is computed."""

    LATENCY = "Latency"


ALGORITHMS: Mapping[Algorithm, AutoscalingAlgorithm[Any]] = {
    Algorithm.LATENCY: latency_algorithm,
}
DEFAULT = Algorithm.LATENCY
