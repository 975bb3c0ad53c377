"""The stand-in for the API server as `kubectl llm` uses it: LLMServices and Secrets, and what is around a service where
a test puts it. Other requests are answered with 418.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from support.fake_api import KINDS, Answer, FakeAPI, refusal, selected

MANAGER = "fieldManager=kubectl-llm"


class UserAPI(FakeAPI):
    """The server. LLMServices are listed one on a page."""

    needs_uid = False
    page = 1

    def __init__(self) -> None:
        super().__init__()
        self.around: dict[str, list[dict[str, Any]] | Answer] | None = None
        """By plural: objects of other kinds, or what is answered to every request for them. None: no permission."""
        self.texts: dict[str, Callable[[], str | Answer]] = {}
        """What is at an object's subresource, such as pods/chat-0/log."""

    def place(self, kind: str, namespace: str, name: str, **content: Any) -> None:
        """Put an object there, past the client."""
        self.put({"kind": kind, "metadata": {"name": name, "namespace": namespace}, **content})

    def secret(self, name: str = "chat-keys", namespace: str = "team-a") -> dict[str, Any]:
        """A Secret as it is now."""
        return copy.deepcopy(self.objects["Secret", namespace, name])

    def service(self, name: str = "chat", namespace: str = "team-a") -> dict[str, Any]:
        """A service as it is now."""
        return copy.deepcopy(self.objects["LLMService", namespace, name])

    def answer(self, method: str, target: str, content: str, body: Any) -> Answer | str:
        path, _, query = target.partition("?")
        match unquote(path).strip("/").split("/"):
            case ["apis", "llmservice.dev", "v1alpha1", "llmservices"] if method == "GET":
                return super().answer(method, target, content, body)
            case ["apis", "llmservice.dev", "v1alpha1", "namespaces", _, "llmservices", *name] if len(name) < 2:
                known = method == "GET" or (name and query == MANAGER)
                return super().answer(method, target, content, body) if known else self._refused(method, target)
            case ["api", "v1", "namespaces", _, "secrets", *name] if len(name) < 2:
                known = name if method == "GET" else query == MANAGER
                return super().answer(method, target, content, body) if known else self._refused(method, target)
            case [("api" | "apis"), *_] as parts if method == "GET" and self.around is not None:
                rest = parts[2:] if parts[0] == "api" else parts[3:]
                namespace, rest = (rest[1], rest[2:]) if rest[0] == "namespaces" and len(rest) > 2 else (None, rest)
                return self._around(self.around, namespace, rest, parse_qs(query))
        return self._refused(method, target)

    def _refused(self, method: str, target: str) -> Answer:
        self.unexpected.append(f"{method} {target}")
        return 418, {}

    def _around(
        self,
        around: Mapping[str, list[dict[str, Any]] | Answer],
        namespace: str | None,
        rest: list[str],
        query: Mapping[str, list[str]],
    ) -> Answer:
        plural, name, below = rest[0], "".join(rest[1:2]), "/".join(rest[2:])
        kind = KINDS.get(plural, plural) + (f"/{below}" if below else "")
        self.calls.append(f"get {kind} {name}" if name else f"list {kind}")
        found = around.get(plural, [])
        if isinstance(found, tuple):
            return found
        if below:
            text = self.texts.get(f"{plural}/{name}/{below}", lambda: refusal(404, "not found", "NotFound"))()
            return (200, text) if isinstance(text, str) else text
        inside = [obj for obj in found if namespace in (None, obj["metadata"].get("namespace", namespace))]
        if name:
            named = [obj for obj in inside if obj["metadata"]["name"] == name]
            return (200, named[0]) if named else refusal(404, f'{plural} "{name}" not found', "NotFound")
        labels, fields = (query.get(each, [""])[0] for each in ("labelSelector", "fieldSelector"))
        return 200, {"items": [obj for obj in inside if selected(obj, labels, fields)], "metadata": {}}
