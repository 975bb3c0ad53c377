"""What the API server of a test has: earlier versions of Kubernetes lack some of what the newest has."""

import pytest

from support.cluster import Cluster
from support.helm import NEWEST_KUBERNETES


def minor(cluster: Cluster) -> int:
    """35 of version 1.35.4."""
    found = cluster.request("GET", "/version").body
    return int(found["minor"].rstrip("+"))


def has(cluster: Cluster, group_version: str, plural: str) -> bool:
    """Whether a resource is served, such as ``resource.k8s.io/v1`` ``resourceclaims``."""
    found = cluster.request("GET", f"/apis/{group_version}")
    return found.ok and plural in {each["name"] for each in found.body["resources"]}


def need(cluster: Cluster, group_version: str, plural: str) -> None:
    """Skips the test if an earlier Kubernetes does not serve the resource. The newest has to."""
    if not has(cluster, group_version, plural):
        no_such(cluster, f"{plural} of {group_version}")


def need_minor(cluster: Cluster, least: int, what: str) -> None:
    """Skips the test on a Kubernetes before 1.``least``."""
    if minor(cluster) < least:
        no_such(cluster, what)


def is_earlier(cluster: Cluster) -> bool:
    """Whether this is not the newest Kubernetes."""
    return f"1.{minor(cluster)}." not in NEWEST_KUBERNETES


def no_such(cluster: Cluster, what: str) -> None:
    """Skips the test for want of this. Fails it on the newest Kubernetes."""
    found = minor(cluster)
    assert is_earlier(cluster), f"Kubernetes 1.{found} has no {what}"
    pytest.skip(f"Kubernetes 1.{found} has no {what}")
