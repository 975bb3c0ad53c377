"""A namespace of its own, the real operator as a process that serves it alone, and the proxy between it and the API
server. Everything else is real too: API server, controllers, scheduler; kwok plays the nodes.
"""

import collections
import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from builders.services import COMMIT
from campaigns import snapshot
from llmservice_operator.resources import kinds
from support.cluster import MERGE, Answer, Cluster, wait_until
from support.operator import OperatorProcess
from support.proxy import Cut, Fault, Proxy, Request, counted

NAME = "chat"
SPEC: dict[str, Any] = {
    "model": {"source": "hf://org/model-1B", "revision": COMMIT},
    "accelerator": {"type": "nvidia"},
    "scheduling": {
        "nodeSelector": {"type": "kwok"},
        "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
    },
}
"""A service that kwok's nodes take."""


class World:
    """One namespace with an operator, and what a test does to both. See ``world``."""

    def __init__(self, cluster: Cluster, namespace: str, proxy: Proxy, operator: OperatorProcess) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.proxy = proxy
        self.operator = operator
        self._shot = False
        self._lock = threading.Lock()

    def shoot_operator(self) -> None:
        """SIGKILL, from any thread. The next look at the operator starts it again, as its Deployment would."""
        with self._lock:
            self._shot = True
            self.operator.kill()

    def check_operator(self) -> None:
        """AssertionError if the operator has ended by itself."""
        with self._lock:
            if self._shot:
                self._shot = False
                self.operator.start()
        assert self.operator.running, f"the operator has ended:\n{self.log()}"

    def log(self, lines: int = 40) -> str:
        """The last lines of the operator's log."""
        return "\n".join(self.operator.log().splitlines()[-lines:])

    def request(self, method: str, kind: str, name: str = "", body: Any = None, **query: str) -> Answer:
        """A user's own request, past the proxy. A PATCH is a merge patch."""
        collection, _, subresource = name.partition("/")
        path = "/".join(filter(None, (kinds.named(kind).path(self.namespace), collection, subresource)))
        content = MERGE if method == "PATCH" else "application/json"
        return self.cluster.request(method, path, body, content_type=content, **query)

    def get(self, kind: str, name: str = NAME) -> dict[str, Any]:
        """An object as it is; empty if there is none."""
        answer = self.request("GET", kind, name)
        return answer.body if answer.ok else {}

    def condition(self, kind: str) -> str:
        """Status of a condition of the service; empty if it has none, or one of an older spec."""
        service = self.get("LLMService")
        for each in service.get("status", {}).get("conditions", []):
            if each["type"] == kind and each.get("observedGeneration") == service["metadata"]["generation"]:
                return str(each["status"])
        return ""

    def snapshot(self) -> snapshot.Snapshot:
        """The namespace as it is now."""
        return snapshot.take(self.cluster, self.namespace)

    def wait(self, condition: Callable[[], Any], what: str, timeout: float = 60.0) -> None:
        """Waits for a condition; AssertionError with the operator's log where it doesn't come true."""

        def alive_and_true() -> Any:
            self.check_operator()
            return condition()

        try:
            wait_until(alive_and_true, what, timeout=timeout, every=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def wait_for_silence(self, seconds: float, timeout: float = 60.0) -> None:
        """Waits until the operator has written nothing for ``seconds``."""
        begun = time.monotonic()

        def silent() -> bool:
            last = max([begun, *(each.at for each in self.proxy.writes())])
            return time.monotonic() - last >= seconds

        self.wait(silent, f"{seconds:g} s without a write; so far {counted(self.proxy.writes())}", timeout)


@contextlib.contextmanager
def world(
    cluster: Cluster,
    *,
    fault: Fault | None = None,
    resync: int = 600,
    namespace: str | None = None,
    token: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[World]:
    """A world with a running operator; all of it goes afterwards.

    ``resync`` in seconds. ``namespace``: one that is there, instead of a fresh one. ``token``: whom the operator is
    for the API server, instead of whom the kubeconfig names. ``settings``: more environment of the operator.
    """
    with (
        contextlib.nullcontext(namespace) if namespace else cluster.namespace("campaign") as name,
        tempfile.TemporaryDirectory(prefix="campaign-") as directory,
        Proxy(cluster.kubeconfig, token=token, fault=fault) as proxy,
    ):
        environment = {"LLMSERVICE_RESYNC_SECONDS": str(resync), **(settings or {})}
        log = Path(directory) / "operator.log"
        operator = OperatorProcess(proxy.kubeconfig, [name], log, environment)
        made = World(cluster, name, proxy, operator)
        operator.start()
        try:
            yield made
        finally:
            operator.kill()


class CrashAtWrite(Fault):
    """The operator dies at its ``number``-th write (from 1), and a new one starts.

    ``committed`` False: the write never reaches the API server; True: it does, and the answer is lost.
    """

    def __init__(self, number: int, *, committed: bool) -> None:
        self.number = number
        self.committed = committed
        self.world: World | None = None
        self.hit: Request | None = None
        self._seen = 0
        self._mine: Request | None = None

    def before(self, request: Request) -> None:
        """Counts the writes, and strikes before the one."""
        if request.write and not request.lease:
            self._seen += 1
            if self._seen == self.number:
                self._mine = request
                if not self.committed:
                    self._strike(request)

    def after(self, request: Request, answer: bytes) -> None:
        """Strikes after the one."""
        if request is self._mine:
            self._strike(request)

    def _strike(self, request: Request) -> None:
        assert self.world
        self.hit = request
        self.world.shoot_operator()
        raise Cut


class DropEvent(Fault):
    """The ``number``-th (from 1) watch event of a sort is lost. Number 0 loses none."""

    def __init__(self, sort: str = "", number: int = 0) -> None:
        self.sort = sort
        self.number = number
        self.hit = ""
        self.seen: collections.Counter[str] = collections.Counter()
        """Events so far, by their sort: type and kind, and whether the spec changed."""
        self._generations: dict[str, int] = {}

    def event(self, request: Request, event: dict[str, Any]) -> bool:
        """Counts the events, and drops the one."""
        if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
            return True
        sort = self._sort(event["type"], event["object"])
        self.seen[sort] += 1
        if (sort, self.seen[sort]) != (self.sort, self.number):
            return True
        self.hit = f"{sort} {event['object']['metadata']['name']}"
        return False

    def _sort(self, type_: str, obj: dict[str, Any]) -> str:
        meta = obj["metadata"]
        known = self._generations.get(meta["uid"])
        self._generations[meta["uid"]] = meta.get("generation", 0)
        changed = type_ == "MODIFIED" and known != meta.get("generation", 0)
        return f"{type_} {obj['kind']}" + (" spec" if changed else "")
