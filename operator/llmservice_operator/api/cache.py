"""A cache volume for each replica."""

from typing import Annotated

from pydantic import Field

from llmservice_operator.api.base import APIType, Bytes, SubdomainName


class Cache(APIType):
    """A persistent volume for each replica, with downloaded weights and vLLM's compiled code."""

    size: Bytes
    """Size of each volume, such as `200Gi`: the weights as they are stored, plus about 10Gi. Existing volumes keep
    their size."""

    keep: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Number of volumes that are kept for removed replicas, beside those of the desired replicas.
    Absent: all up to `scaling.maxReplicas`, and at least one."""

    storage_class_name: SubdomainName | None = None
    """StorageClass of the volumes. Absent: the cluster's default."""
