"""Nodes of a test's own that kwok plays, and a service on them alone."""

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any, Self

from support.cluster import Cluster
from support.rollouts import AT_ONCE, Rolled, make_node

TAINT = {"key": "kwok.x-k8s.io/node", "operator": "Exists", "effect": "NoSchedule"}


class OwnNodes:
    """At first there are no nodes, and no service."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.group = f"group-{secrets.token_hex(3)}"
        self.rolled = Rolled(cluster, namespace, f"chat-{secrets.token_hex(3)}", self.group)
        self.nodes: list[str] = []

    @classmethod
    @contextlib.contextmanager
    def of(cls, cluster: Cluster, namespace: str) -> Iterator[Self]:
        """Deletes service and nodes at the end of the block."""
        made = cls(cluster, namespace)
        try:
            yield made
        finally:
            cluster.request("DELETE", cluster.services(namespace, made.rolled.name))
            for name in made.nodes:
                cluster.request("DELETE", f"/api/v1/nodes/{name}")

    def add_node(self, gpus: int = 1, **labels: str) -> str:
        name = f"gpus-{secrets.token_hex(3)}"
        make_node(self.cluster, name, gpus, group=self.group, **labels)
        self.nodes.append(name)
        return name

    def create_service(self, scheduling: dict[str, Any], **spec: Any) -> None:
        """The service with this spec, on these nodes. ``scheduling``: more of it."""
        body = {
            "apiVersion": "llmservice.dev/v1alpha1",
            "kind": "LLMService",
            "metadata": {"name": self.rolled.name},
            "spec": {
                "model": {"source": "s3://models/chat"},
                "resources": {"cpu": AT_ONCE},
                "scheduling": {"nodeSelector": {"group": self.group}, "tolerations": [TAINT], **scheduling},
                **spec,
            },
        }
        made = self.cluster.create(self.rolled.namespace, body)
        assert made.ok, made.message
