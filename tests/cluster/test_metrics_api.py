"""The metrics API behind a real API server: who reads gets numbers if they may, and a dozen ways round are closed.

The server runs in this process; the API server reaches it by the APIService and the Service, as the chart makes them.
"""

import asyncio
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmservice_operator.autoscaling import metrics_unavailable
from llmservice_operator.autoscaling.external_metrics import API_SERVICE
from llmservice_operator.config.scaling import ScalingSettings
from support.aggregation import APISERVICES, NODE_ADDRESS, PORT, SERVICE, registered
from support.cluster import MERGE, Answer, Cluster, wait_until
from support.metrics_api import ROOT, Authority, Caller, Numbers, Pair, Reply, Running, metric_path

pytestmark = pytest.mark.cluster_wide

AUTOSCALER = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
BACK_SECONDS = 20.0
"""How long metrics may be away when the operator starts again."""


class Place:
    """A namespace with a metrics API that serves it, with a load of 187.5 for the service chat."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.numbers = Numbers({(namespace, "chat"): 187_500})
        self.running = self.api()
        self.direct = Caller(NODE_ADDRESS, PORT)

    def api(self, port: int = PORT) -> Running:
        settings = ScalingSettings(
            adapter="own", api_port=port, api_service=SERVICE, pod_ip=NODE_ADDRESS, api_endpoints=True
        )
        return Running(self.cluster.kubeconfig, settings, self.namespace, self.numbers)

    def read(self, namespace: str = "", user: str = "") -> Answer:
        """The load of the service chat, through the API server; as another user where one is named."""
        path = metric_path(namespace or self.namespace)
        return self.cluster.request("GET", path, user=user, labelSelector="llmservice=chat")

    def wait_for_numbers(self) -> float:
        """Until they can be read; how many seconds that took."""
        begin = time.monotonic()
        wait_until(lambda: self.read().ok, f"numbers through the API server ({self.running.gap})", timeout=60)
        return time.monotonic() - begin

    def ask(
        self,
        path: str = "",
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        certificate: Pair | None = None,
        method: str = "GET",
    ) -> Reply:
        """Past the API server: straight to the metrics API."""
        path = path or metric_path(self.namespace)
        return asyncio.run(self.direct.get(path, headers, certificate=certificate, method=method))

    def account(self, name: str, *, reads: bool, namespace: str = "", audiences: Sequence[str] = ()) -> str:
        """The token of a new ServiceAccount that may read external metrics of the namespace, or nothing."""
        namespace = namespace or self.namespace
        core, rbac = f"/api/v1/namespaces/{namespace}", "/apis/rbac.authorization.k8s.io/v1"
        self.create(f"{core}/serviceaccounts", {"metadata": {"name": name}})
        if reads:
            rule = {"apiGroups": ["external.metrics.k8s.io"], "resources": ["*"], "verbs": ["get", "list"]}
            meta = {"metadata": {"name": name}}
            self.create(f"{rbac}/namespaces/{namespace}/roles", {**meta, "rules": [rule]})
            binding = {
                **meta,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            }
            self.create(f"{rbac}/namespaces/{namespace}/rolebindings", binding)
        token = self.create(f"{core}/serviceaccounts/{name}/token", {"spec": {"audiences": list(audiences)}})
        return str(token["status"]["token"])

    def create(self, path: str, body: dict[str, Any]) -> Any:
        made = self.cluster.request("POST", path, body)
        assert made.ok, made.message
        return made.body

    def available(self) -> dict[str, Any]:
        """What the API server thinks of the metrics API."""
        found = self.cluster.request("GET", f"{APISERVICES}/{API_SERVICE}").body
        conditions = found.get("status", {}).get("conditions") or [{}]
        return next((each for each in conditions if each.get("type") == "Available"), {})

    def have_it_looked_at(self) -> None:
        """The API server looks at a metrics API whose APIService changes, else every 30 s."""
        note = {"metadata": {"annotations": {"llmservice.dev/test": secrets.token_hex(4)}}}
        self.cluster.request("PATCH", f"{APISERVICES}/{API_SERVICE}", note, content_type=MERGE)


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> Iterator[Place]:
    with cluster.namespace("metrics") as namespace, registered(cluster, namespace):
        made = Place(cluster, namespace)
        made.running.start()
        try:
            made.wait_for_numbers()
            yield made
        finally:
            made.running.stop()


@pytest.fixture(scope="module")
def readers_token(place: Place) -> str:
    """Of an account that may read in the namespace, and not elsewhere."""
    return place.account("reader", reads=True)


def test_who_may_reads_through_the_api_server(place: Place) -> None:
    for user in ("", AUTOSCALER):
        answer = place.read(user=user)
        assert answer.ok, answer.message
        (value,) = answer.body["items"]
        assert value["metricName"] == "llmservice_load_percent"
        assert value["metricLabels"] == {"llmservice": "chat"}
        assert value["value"] == "187500m"


def test_a_token_reads_past_the_api_server(place: Place, readers_token: str) -> None:
    assert place.ask(headers=bearer(readers_token)).status == 200


def test_why_a_number_is_not_known_reaches_the_reader_in_full(place: Place) -> None:
    why = "Prometheus at http://prometheus.monitoring:9090 doesn't answer: connection refused"
    place.numbers.loads[place.namespace, "chat"] = why
    try:
        answer = place.read()
        assert (answer.status, answer.message) == (503, why)
    finally:
        place.numbers.loads[place.namespace, "chat"] = 187_500


def test_the_cluster_knows_the_metrics_by_name(place: Place) -> None:
    def known() -> list[str]:
        answer = place.cluster.request("GET", ROOT)
        return [each["name"] for each in answer.body.get("resources") or []]

    wait_until(lambda: known() == ["llmservice_load_percent"], "discovery")
    assert place.available()["status"] == "True"
    assert place.running.gap is None


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def own_certificate(cluster: Cluster) -> Pair:
    """The certificate that this cluster's kubeconfig logs in with: of the clients' authority, not the front proxy's."""
    configuration = cluster.api.configuration
    assert configuration.cert_file, "a kubeconfig that logs in with a client certificate"
    return Pair(Path(configuration.cert_file).read_bytes(), Path(configuration.key_file).read_bytes())


MASTER = (("X-Remote-User", "admin"), ("X-Remote-Group", "system:masters"))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param((), 401, id="no credentials"),
        pytest.param({"Authorization": "Bearer wrong"}, 401, id="a wrong token"),
        pytest.param({"Authorization": "Bearer "}, 401, id="an empty token"),
        pytest.param({"Authorization": "Basic YWRtaW46YWRtaW4="}, 401, id="a password"),
        pytest.param(MASTER, 401, id="a user named without a certificate"),
        pytest.param({"Impersonate-User": "admin"}, 401, id="a user to be impersonated"),
        pytest.param({"X-Forwarded-User": "admin", "X-Forwarded-For": "127.0.0.1"}, 401, id="another proxy's headers"),
    ],
)
def test_nobody_gets_in_past_the_api_server(place: Place, headers: Any, status: int) -> None:
    for path in ("", ROOT, "/apis", "/openapi/v2"):
        assert place.ask(path, headers).status == status


def test_certificates_of_others_do_not_make_a_front_proxy(place: Place, own_certificate: Pair) -> None:
    assert place.ask(headers=MASTER, certificate=Authority().client("front-proxy")).status == 0, "self-made"
    # Of the same authority with another name: refused by its name; of another authority: in the handshake.
    assert place.ask(headers=MASTER, certificate=own_certificate).status in (0, 401)


def test_tokens_count_for_what_they_are(place: Place, readers_token: str) -> None:
    token = place.account("no-rights", reads=False)
    reply = place.ask(headers=bearer(token))
    assert reply.status == 403
    assert f'User "system:serviceaccount:{place.namespace}:no-rights" cannot list' in reply.message
    token = place.account("elsewhere", reads=True, audiences=["another-holder"])
    assert place.ask(headers=bearer(token)).status == 401, "a token that was made for another server"
    token = place.account("gone", reads=True)
    gone = f"/api/v1/namespaces/{place.namespace}/serviceaccounts/gone"
    assert place.cluster.request("DELETE", gone).ok
    wait_until(lambda: place.ask(headers=bearer(token)).status == 401, "the token of a deleted account refused")


def test_a_reader_of_one_namespace_reads_no_other(place: Place, readers_token: str) -> None:
    with place.cluster.namespace("metrics-other") as other:
        place.numbers.loads[other, "chat"] = 1_000
        reply = place.ask(metric_path(other), bearer(readers_token))
        assert reply.status == 403
        assert f'in the namespace "{other}"' in reply.message
        reader = f"system:serviceaccount:{place.namespace}:reader"
        assert place.read(user=reader).status == 200
        assert place.read(other, user=reader).status == 403


@pytest.mark.parametrize("user", ["other-user", "system:anonymous", "system:serviceaccount:default:default"])
def test_who_may_not_is_refused_by_the_api_server(place: Place, user: str) -> None:
    assert place.read(user=user).status == 403


def test_no_path_leads_round_the_permission(place: Place, readers_token: str) -> None:
    """With a valid token that has no permission there."""
    path = metric_path("default")
    for trick in (
        path.replace("/apis", "//apis", 1),
        path.replace("/default/", "//default/"),
        path.replace("/default/", "/%64efault/"),
        path.replace("/default/", "/default%2f"),
        metric_path(f"{place.namespace}%2f..%2fdefault"),
        metric_path(f"{place.namespace}/../default"),
        f"/healthz/..{path}",
        f"/healthz/%2e%2e{path}",
        f"https://{SERVICE}{path}",
        f"{path}/",
        path.upper(),
    ):
        assert place.ask(trick, bearer(readers_token)).status == 404, trick
        assert place.ask(trick).status == 401, trick
    assert place.ask(path, bearer(readers_token)).status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_written(place: Place, readers_token: str, method: str) -> None:
    assert place.ask(headers=bearer(readers_token), method=method).status == 405
    path = metric_path(place.namespace)
    assert place.cluster.request(method, path, {}).status == 405
    assert place.cluster.request(method, path, {}, user="other-user").status == 403


def test_after_a_restart_the_numbers_are_back_in_time(place: Place, record_property: Any) -> None:
    """A restart brings an authority of its own, and mostly another address."""
    place.running.stop()
    place.running.start()
    again = place.wait_for_numbers()
    place.running.stop()
    place.running = place.api(PORT + 1)
    place.running.start()
    elsewhere = place.wait_for_numbers()
    place.running.stop()
    place.have_it_looked_at()
    wait_until(lambda: place.available()["status"] == "False", "the API server missing the metrics API", timeout=60)
    time.sleep(0)
    place.running = place.api()
    place.running.start()
    after_an_outage = place.wait_for_numbers()
    times = {"at the same address": again, "at another": elsewhere, "after an outage": after_an_outage}
    print("seconds until numbers are back:", times)
    assert all(seconds < BACK_SECONDS for seconds in times.values()), times


def test_a_namespace_goes_once_the_metrics_api_is_back(place: Place) -> None:
    """The API server deletes no namespace while it can't tell what is in it."""
    place.running.stop()
    place.have_it_looked_at()
    wait_until(lambda: place.available()["status"] == "False", "the API server missing the metrics API", timeout=60)
    with place.cluster.namespace("metrics-waits") as waiting:
        path = f"/api/v1/namespaces/{waiting}"
        assert place.cluster.request("DELETE", path).ok

        def reason() -> str:
            found = place.cluster.request("GET", path).body.get("status", {}).get("conditions") or []
            return next((each["reason"] for each in found if each["status"] == "True"), "")

        try:
            wait_until(lambda: reason() == "DiscoveryFailed", "the namespace waiting for the metrics API")
            assert place.cluster.request("GET", path).ok
        finally:
            place.running.start()
        place.wait_for_numbers()
        wait_until(lambda: place.cluster.request("GET", path).status == 404, "the namespace gone", timeout=90)


def test_a_registration_of_somebody_else_is_left_alone(place: Place) -> None:
    path = f"{APISERVICES}/{API_SERVICE}"
    before = place.cluster.request("GET", path).body["spec"]["service"]
    theirs = {"spec": {"service": {"namespace": "keda", "name": "keda-operator-metrics-apiserver"}}}
    assert place.cluster.request("PATCH", path, theirs, content_type=MERGE).ok
    try:
        gap = wait_until(lambda: place.running.gap, "a word about who serves the metrics")
        assert gap.reason == metrics_unavailable.METRICS_API_TAKEN
        assert "keda/keda-operator-metrics-apiserver: set the chart value scaling.adapter to keda" in gap.message
        version = place.cluster.request("GET", path).body["metadata"]["resourceVersion"]
    finally:
        ours = {"spec": {"service": before}}
        assert place.cluster.request("PATCH", path, ours, content_type=MERGE).ok
    assert version
    place.wait_for_numbers()
