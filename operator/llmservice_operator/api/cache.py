"""A disk of each replica's own."""

from typing import Annotated

from pydantic import Field

from llmservice_operator.api.base import APIType, Bytes, SubdomainName


class Cache(APIType):
    """A volume of each replica's own that outlives its pod: downloaded weights, and what vLLM has compiled."""

    size: Bytes
    """Size of each volume, such as `200Gi`: the weights as they are stored, and some 10Gi. Volumes that exist keep
    theirs."""

    keep: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Volumes that are kept for replicas that were scaled away, beside those of the replicas that are asked for.
    Absent: all up to `scaling.maxReplicas`, and one at least."""

    storage_class_name: SubdomainName | None = None
    """StorageClass of the volumes. Absent: the cluster's default."""
