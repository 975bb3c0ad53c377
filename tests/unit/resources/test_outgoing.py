"""The platform's proxy and CAs reach every pod that reads a model, and no service changes them."""

from typing import Any

import pytest

from builders.cases import CASES
from builders.observed import a_scene
from builders.services import ServiceBuilder, a_service
from llmservice_contract.engine_arguments import VARIABLES, check_variable
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.cli.plan.platform_discovery import DiscoveredPlatform, with_outgoing
from llmservice_operator.resources import environment, outgoing
from llmservice_operator.resources.inspection import make_inspection
from llmservice_operator.resources.objects import Owner
from llmservice_operator.resources.platform import Platform, Proxy

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
PROXY = Proxy("http://proxy.corp.example:3128", "http://proxy.corp.example:3129", (".corp.example", "10.0.0.0/8"))
BOTH = Platform(proxy=PROXY, ca_bundle=PEM)
OWNER = Owner("chat", "team-a", "uid-1")


def spec(service: ServiceBuilder) -> LLMServiceSpec:
    return LLMServiceSpec.model_validate(service.build()["spec"])


def objects(service: ServiceBuilder, platform: Platform) -> list[dict[str, Any]]:
    return [dict(each) for each in a_scene(service.read()).on(platform).plan().objects]


def pods(made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each["spec"]["template"]["spec"] for each in made if each["kind"] in ("StatefulSet", "Job")]


def test_programs_find_the_proxy_in_upper_and_in_lower_case() -> None:
    made = environment.of_platform("chat", spec(a_service()), BOTH)
    for name, value in (("HTTP_PROXY", PROXY.http), ("HTTPS_PROXY", PROXY.https)):
        assert made[name] == made[name.lower()] == value
    exempt = made["NO_PROXY"].split(",")
    assert made["no_proxy"] == made["NO_PROXY"]
    assert {"localhost", "127.0.0.1", "::1", ".svc", ".cluster.local", ".corp.example", "10.0.0.0/8"} == set(exempt)


def test_a_proxy_for_one_scheme_is_one_for_no_other() -> None:
    made = outgoing.variables(spec(a_service()), Platform(proxy=Proxy(https="http://p:1")))
    assert not {"HTTP_PROXY", "http_proxy"} & made.keys()


@pytest.mark.parametrize("case", CASES)
def test_each_pod_trusts_the_platforms_cas(case: str) -> None:
    made = objects(CASES[case], BOTH)
    assert pods(made)
    assert [each["data"] for each in made if each["metadata"]["name"] == "chat-platform-ca"] == [{"ca.crt": PEM}]
    before = [each["kind"] for each in made].index("ConfigMap")
    assert made[before]["metadata"]["name"] == "chat-platform-ca", "it exists before the first pod"
    for pod in pods(made):
        (volume,) = (each for each in pod["volumes"] if each["name"] == "platform-ca")
        assert volume["configMap"] == {"name": "chat-platform-ca"}
        (mount,) = (each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "platform-ca")
        assert mount["readOnly"] is True


def test_an_inspection_has_them_before_anything_else_exists() -> None:
    waiting = a_scene(a_service().spread_over(tensor=2, pipeline=1, nodes=1)).on(BOTH).plan().objects
    kinds = [each["kind"] for each in waiting]
    assert "StatefulSet" not in kinds
    assert kinds.index("ConfigMap") < kinds.index("Job")
    variables = {
        each["name"]: each.get("value") for each in pods([dict(each) for each in waiting])[0]["containers"][0]["env"]
    }
    assert variables["https_proxy"] == PROXY.https
    assert variables["PLATFORM_CA"] == "/platform-ca/ca.crt"


@pytest.mark.parametrize("case", CASES)
def test_other_cas_restart_nothing(case: str) -> None:
    one, other = (pods(objects(CASES[case], Platform(ca_bundle=text))) for text in (PEM, PEM + PEM))
    assert one == other


@pytest.mark.parametrize("case", CASES)
def test_without_both_nothing_is_rendered(case: str) -> None:
    text = str(objects(CASES[case], Platform()))
    assert "PROXY" not in text and "platform-ca" not in text and "PLATFORM_CA" not in text


@pytest.mark.parametrize(
    "name",
    [
        *("HTTP_PROXY", "https_proxy", "NO_PROXY", "no_grpc_proxy", "grpc_proxy", "ALL_PROXY", "PLATFORM_CA"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"),
        *("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "HF_HUB_DISABLE_SSL_VERIFY", "PYTHONHTTPSVERIFY", "HF_ENDPOINT"),
    ],
)
def test_no_service_changes_them(name: str) -> None:
    assert check_variable(name, "x") is not None
    assert name not in VARIABLES


def test_the_platforms_win_over_variables_of_a_service() -> None:
    """Even if a variable were allowed one day."""
    asked = spec(a_service())
    asked = asked.model_copy(
        update={"engine": asked.engine.model_copy(update={"env": {"HTTPS_PROXY": "http://evil:1"}})}
    )
    assert environment.of_platform("chat", asked, BOTH)["HTTPS_PROXY"] == PROXY.https


def test_a_trace_collector_is_exempt_for_grpc_alone() -> None:
    """Its host is a field of the service: in NO_PROXY it could exempt a hub from the proxy."""
    traced = spec(a_service().with_spec(tracing={"endpoint": "http://collector.monitoring:4317"}))
    made = outgoing.variables(traced, BOTH)
    assert "collector.monitoring" in made["no_grpc_proxy"].split(",")
    assert "collector.monitoring" not in made["NO_PROXY"]
    assert set(made["NO_PROXY"].split(",")) < set(made["no_grpc_proxy"].split(","))


def test_the_plan_knows_what_the_children_show() -> None:
    children = objects(a_service(), BOTH)
    of_children = with_outgoing(DiscoveredPlatform(Platform(), from_operator=False), "chat", children).platform
    assert (of_children.proxy, of_children.ca_bundle, of_children.fixed_user) == (PROXY, PEM, True)
    unread = Platform(proxy=PROXY, ca_bundle="")
    assert with_outgoing(DiscoveredPlatform(unread, from_operator=True), "chat", children).platform == BOTH
    free = objects(a_service(), Platform(fixed_user=False, ip_family_policy="PreferDualStack"))
    shown = with_outgoing(DiscoveredPlatform(Platform(), from_operator=False), "chat", free).platform
    assert (shown.fixed_user, shown.ip_family_policy, shown.proxy) == (False, "PreferDualStack", None)


def test_the_job_of_an_inspection_is_another_one_with_a_proxy() -> None:
    jobs = [make_inspection(OWNER, spec(a_service()), platform)["metadata"]["name"] for platform in (Platform(), BOTH)]
    assert len(set(jobs)) == 2
