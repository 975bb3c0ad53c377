"""Volumes created manually, because no provisioner serves kwok's nodes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from support.cluster import Cluster

PATH = "/api/v1/persistentvolumes"


@contextlib.contextmanager
def volumes(cluster: Cluster, storage_class: str, sources: Mapping[str, dict[str, Any]]) -> Iterator[None]:
    """A volume of 5 GiB of the class for each source, by the end of its name; gone afterwards."""
    names = {f"{storage_class}-{end}": source for end, source in sources.items()}
    for name, source in names.items():
        spec = {
            "capacity": {"storage": "5Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "persistentVolumeReclaimPolicy": "Retain",
            **source,
        }
        made = cluster.request("POST", PATH, {"metadata": {"name": name}, "spec": spec})
        assert made.ok, made.message
    try:
        yield
    finally:
        for name in names:
            cluster.request("DELETE", f"{PATH}/{name}")
