"""A disk of each replica's own."""

from llmservice_operator.api.base import APIType, Bytes, SubdomainName


class Cache(APIType):
    """A volume of each replica's own that outlives its pod: downloaded weights, and what vLLM has compiled."""

    size: Bytes
    """Size of each volume, such as `200Gi`: the weights as they are stored, and some 10Gi. Volumes that exist keep
    theirs."""

    storage_class_name: SubdomainName | None = None
    """StorageClass of the volumes. Absent: the cluster's default."""
