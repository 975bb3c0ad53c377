"""The cluster with kwok's nodes, and how much of each campaign runs: CAMPAIGN=full runs all of it."""

import subprocess
from collections.abc import Callable, Sequence

import pytest

from support.campaign import FULL
from support.cluster import ROOT, Cluster, connect


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster of $KUBECONFIG or of `make cluster-up`, with the CRD in force and nodes of kwok."""
    found = connect()
    found.apply_crd()
    nodes = found.request("GET", "/api/v1/nodes", labelSelector="type=kwok").body["items"]
    if not nodes:
        subprocess.run([ROOT / "hack" / "cluster" / "kwok", "up", "3"], check=True, timeout=300)
    return found


@pytest.fixture(scope="session")
def choose() -> Callable[[int, int], Sequence[int]]:
    """``choose(total, few)``: all numbers from 1 to ``total`` with CAMPAIGN=full, else about ``few``, evenly spread."""

    def numbers(total: int, few: int) -> Sequence[int]:
        step = 1 if FULL else max(1, total // few)
        return range(1, total + 1, step)

    return numbers
