"""A stand-in for the API server that answers what `kubectl llm plan` asks: a world's objects, and dry runs."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

from builders.world import World
from llmservice_operator.resources import kinds
from support.fake_api import MERGE, Answer, merged, refusal
from unit.cli.user_api import UserAPI

Json = dict[str, Any]

_KEDA = re.compile(r"/apis/keda\.sh/.*")


class PlanningAPI(UserAPI):
    """As UserAPI. A dry run is answered with what would be, or with what ``says`` of it; nothing is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.says: Callable[[str, Json], Answer | None] = lambda call, body: None
        self.dry_runs: list[tuple[str, str, Json]] = []
        """Method and path with query, and the body."""
        self.minor = "37"

    def shows(self, world: World) -> None:
        """What is there is what the world has, on its one node."""
        service = copy.deepcopy(world.service)
        self.objects["LLMService", "team-a", "chat"] = service
        service["metadata"]["resourceVersion"] = "1"
        found: dict[str, list[Json]] = {kind.plural: [] for kind in kinds.CHILDREN}
        for child in world.children.values():
            found[kinds.named(child["kind"]).plural].append(copy.deepcopy(child))
        node = {"nvidia.com/gpu": str(world.gpus), "cpu": "64", "memory": "1Ti", "pods": "100"}
        ready = [{"type": "Ready", "status": "True"}]
        nodes = [{"metadata": {"name": "gpu-0", "labels": {}}, "status": {"allocatable": node, "conditions": ready}}]
        pods = [copy.deepcopy(dict(pod)) for pod in world.observe(None).pods]
        self.around = {**found, "pods": pods, "nodes": nodes, "resourcequotas": [], "deployments": []}

    def answer(self, method: str, target: str, content: str, body: Any) -> Answer | str:
        path, _, query = target.partition("?")
        if path == "/version":
            return 200, {"major": "1", "minor": self.minor}
        if _KEDA.fullmatch(path):
            return 404, "404 page not found"
        if "dryRun=All" in query:
            self.dry_runs.append((method, target, body))
            said = self.says(f"{method} {path}", body)
            return said if said is not None else self._would_be(path, content, body)
        return super().answer(method, target, content, body)

    def _would_be(self, path: str, content: str, body: Json) -> Answer:
        live = self.objects.get(("LLMService", "team-a", path.rpartition("/")[2]))
        if "/llmservices" not in path or live is None:
            return 200, {**body, "metadata": {**body["metadata"], "uid": "uid-new"}}
        if content == MERGE:
            return 200, merged(live, body)
        return 200, {**copy.deepcopy(live), "spec": copy.deepcopy(body["spec"])}


def forbidden(what: str) -> Answer:
    """As the API server answers where RBAC grants nothing."""
    return refusal(403, f'{what} is forbidden: User "me" cannot list resource "{what}" in API group ""', "Forbidden")
