"""The cluster of the tests: a real API server, never a stand-in.

It is that of $KUBECONFIG, otherwise the local cluster of `make cluster-up`. Without either, tests fail with a message;
they are not skipped.
"""

import contextlib
import dataclasses
import json
import os
import secrets
import shutil
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import urllib3
import yaml
from kubernetes import client, config

from llmservice_operator.api import GROUP, PLURAL, VERSION
from support.cache import CACHE

ROOT = Path(__file__).parents[2]
CRDS = ROOT / "crds"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"

START_SECONDS = 300.0
"""How long a program may take until it answers: it may get a hundredth of a processor, on a machine that is busy."""

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the API server said."""

    status: int
    body: Any
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it did what was asked."""
        return 200 <= self.status < 300

    @property
    def causes(self) -> list[dict[str, str]]:
        """Each fault of a refused object: field, reason, message."""
        details = self.body.get("details") or {}
        return list(details.get("causes") or [])

    @property
    def message(self) -> str:
        """The message of a refusal, whole."""
        return str(self.body.get("message", ""))


@dataclasses.dataclass(frozen=True)
class Cluster:
    """One API server and the way to it."""

    kubeconfig: Path
    api: client.ApiClient
    """For the typed clients of the `kubernetes` package."""

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        user: str = "",
        **query: str,
    ) -> Answer:
        """One request over a kept-alive connection, in the name of ``user`` if given; refusals are answers, not
        exceptions."""
        headers = {"Content-Type": content_type, "Accept": accept, **({"Impersonate-User": user} if user else {})}
        headers |= {auth["key"]: auth["value"] for auth in self.api.configuration.auth_settings().values()}
        response = self.api.rest_client.pool_manager.request(
            method,
            f"{self.api.configuration.host}{path}?{urllib.parse.urlencode(query)}",
            body=None if body is None else json.dumps(body),
            headers=headers,
            timeout=30,
            retries=False,
        )
        try:
            answer = json.loads(response.data or b"{}")
        except ValueError:  # an aggregated API without a server answers in plain text
            answer = {"message": response.data.decode(errors="replace")}
        return Answer(response.status, answer, tuple(response.headers.getlist("Warning")))

    def services(self, namespace: str, name: str = "", subresource: str = "") -> str:
        """Path of the LLMServices of a namespace, of one of them, or of its subresource."""
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}"
        return "/".join(part for part in (path, name, subresource) if part)

    def create(self, namespace: str, service: Mapping[str, Any], *, dry_run: bool = False) -> Answer:
        """Creates an LLMService as kubectl does: with strict validation of fields."""
        query = {"fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}
        return self.request("POST", self.services(namespace), service, **query)

    def apply_crd(self) -> None:
        """Brings the CRDs of this working tree into the cluster and returns when they are served."""
        for file in sorted(CRDS.glob("*.yaml")):
            self._apply_crd(file)

    def _apply_crd(self, file: Path) -> None:
        crd = yaml.safe_load(file.read_text())
        name = crd["metadata"]["name"]
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
        before = self.request("GET", path)
        after = self.request("PATCH", path, crd, content_type=APPLY, fieldManager="llmservice-tests", force="true")
        assert after.ok, f"the API server refuses the CRD: {after.message}"
        if before.ok and before.body["metadata"]["generation"] == after.body["metadata"]["generation"]:
            return
        wait_until(lambda: self._served(path, crd), f"the API server serves the CRD as {file.name} has it")

    @contextlib.contextmanager
    def namespace(self, prefix: str = "test") -> Iterator[str]:
        """A namespace of a random name; deleted afterwards, without waiting until it is gone."""
        name = f"{prefix}-{secrets.token_hex(4)}"
        made = self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        assert made.ok, made.message
        try:
            yield name
        finally:
            self.request("DELETE", f"/api/v1/namespaces/{name}")

    def _served(self, path: str, crd: Mapping[str, Any]) -> bool:
        """Whether the CRD is established and its schema published; the schema is in force before it is published."""
        conditions = self.request("GET", path).body.get("status", {}).get("conditions") or []
        if not any(each["type"] == "Established" and each["status"] == "True" for each in conditions):
            return False
        published = self.request("GET", f"/openapi/v3/apis/{GROUP}/{VERSION}")
        (version,) = crd["spec"]["versions"]
        wanted = version["schema"]["openAPIV3Schema"]["properties"]
        name = ".".join([*reversed(GROUP.split(".")), VERSION, crd["spec"]["names"]["kind"]])
        found = published.body.get("components", {}).get("schemas", {}).get(name, {}).get("properties", {})
        return all(found.get(part) == wanted.get(part) for part in ("spec", "status"))


def refused(cluster: Cluster, objects: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What the API server says against applying each of these, by kind and name; nothing is written."""
    found = {}
    for each in objects:
        meta, kind = each["metadata"], each["kind"].lower()
        root = "/api/v1" if each["apiVersion"] == "v1" else f"/apis/{each['apiVersion']}"
        inside = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
        plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
        answer = cluster.request(
            "PATCH",
            f"{root}{inside}/{plural}/{meta['name']}",
            each,
            content_type="application/apply-patch+yaml",
            fieldManager="test",
            force="true",
            dryRun="All",
            fieldValidation="Strict",
        )
        if not answer.ok:
            found[f"{each['kind']} {meta['name']}"] = answer.message
    return found


def kubeconfig_path() -> Path:
    """The kubeconfig of the cluster under test. AssertionError if there is no cluster."""
    local = Path(os.environ.get("LLMSERVICE_CLUSTER", CACHE / "cluster")) / "kubeconfig"
    path = Path(os.environ["KUBECONFIG"]) if os.environ.get("KUBECONFIG") else local
    assert path.is_file(), f"no cluster to test on ({path} is missing): run `make cluster-up`, or set KUBECONFIG"
    return path


def kubectl() -> str:
    """Path of kubectl: the local cluster's program, else the one on the PATH. AssertionError if there is none."""
    found = shutil.which(str(CACHE / "bin" / "kubectl")) or shutil.which("kubectl")
    assert found, "kubectl is missing: `make cluster-up` builds it"
    return found


def connect(kubeconfig: Path | None = None) -> Cluster:
    """The cluster of this kubeconfig (of ``kubeconfig_path`` by default). AssertionError if it doesn't answer."""
    path = kubeconfig or kubeconfig_path()
    cluster = Cluster(path, config.new_client_from_config(str(path)))
    try:
        ready = cluster.request("GET", "/version").ok
    except urllib3.exceptions.HTTPError as error:
        raise AssertionError(f"the cluster of {path} doesn't answer ({error}): run `make cluster-up`") from error
    assert ready, f"the cluster of {path} refuses its own kubeconfig: run `make cluster-up`"
    return cluster


def wait_until(
    condition: Callable[[], T], what: str | Callable[[], str], timeout: float = 30.0, every: float = 0.1
) -> T:
    """The condition's first true answer. AssertionError after ``timeout`` seconds, saying ``what`` didn't come true; a
    function if it tells a state, such as a log, which is read at the end."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what if isinstance(what, str) else what()}"
        time.sleep(every)
