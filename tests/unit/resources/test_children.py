"""What a user relies on in the rendered children, beside what the golden files show."""

from typing import Any

import pytest

from builders.cases import CASES
from builders.observed import a_scene, leader
from builders.services import ServiceBuilder, a_service
from llmservice_contract.engine_settings import BATCH_TIMEOUT, BY_VARIABLE
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import environment, names, quantity
from llmservice_operator.resources.platform import Allowed, Platform

Json = dict[str, Any]


def objects(service: ServiceBuilder, platform: Platform | None = None) -> dict[str, Json]:
    """The children of a service on one device, by kind; the client's Service among them."""
    alone = {"tensor": 1, "pipeline": 1, "nodesPerReplica": 1}
    scene = a_scene(service.with_spec(parallelism=alone).read()).on(platform or Platform())
    return {obj["kind"]: dict(obj) for obj in scene.plan().objects}


def pod(service: ServiceBuilder) -> Json:
    found: Json = objects(service)["StatefulSet"]["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_engine_understands_each_value(case: str) -> None:
    service = CASES[case].build()
    spec = LLMServiceSpec.model_validate(service["spec"])
    variables = environment.engine("chat", spec)
    for name, value in variables.items():
        if name in BY_VARIABLE:
            BY_VARIABLE[name].parse(value)
    others = {"HOME", "HF_HOME", "HF_ENDPOINT", "OMP_NUM_THREADS", "VLLM_CACHE_ROOT", "OTEL_SERVICE_NAME"}
    assert set(variables) - set(BY_VARIABLE) <= others | set(spec.engine.env or {})


@pytest.mark.parametrize(
    ("cpu", "ranks", "threads"),
    [(None, 1, "1"), (None, 2, "1"), ("400m", 1, "1"), ("8", 1, "8"), ("8", 2, "4"), ("7500m", 2, "3")],
)
def test_on_a_cpu_ranks_share_the_cores_that_the_replica_asks_for(cpu: str | None, ranks: int, threads: str) -> None:
    service = a_service().on_cpu().with_spec(resources={"cpu": cpu} if cpu else {}, parallelism={"tensor": ranks})
    spec = LLMServiceSpec.model_validate(service.build()["spec"])
    assert environment.engine("chat", spec)["OMP_NUM_THREADS"] == threads
    assert "OMP_NUM_THREADS" not in environment.engine(
        "chat", LLMServiceSpec.model_validate(a_service().build()["spec"])
    )


@pytest.mark.parametrize("case", CASES)
def test_the_startup_probe_and_the_engine_have_the_same_budget(case: str) -> None:
    made = objects(CASES[case])
    probe = made["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]["startupProbe"]
    budget = int(made["ConfigMap"]["data"]["STARTUP_BUDGET_SECONDS"])
    assert probe["periodSeconds"] * probe["failureThreshold"] == budget


def statefulsets(service: ServiceBuilder) -> list[Json]:
    """Those of a replica on several nodes, that of rank 0 last."""
    made = a_scene(service.from_source("s3://models/chat").read()).plan().objects
    return [dict(each) for each in made if each["kind"] == "StatefulSet"]


def test_what_ranks_above_0_get_and_what_not() -> None:
    keyed = a_service().spread_over(tensor=4, pipeline=2, nodes=4).with_keys()
    *others, first = statefulsets(keyed)
    assert [each["metadata"]["name"] for each in others] == ["chat-r3", "chat-r2", "chat-r1"]
    leader, follower = (each["spec"]["template"]["spec"]["containers"][0] for each in (first, others[-1]))
    assert {port["name"] for port in leader["ports"]} == {"http", "metrics", "probe"}
    assert {port["name"] for port in follower["ports"]} == {"probe"}
    assert "lifecycle" in leader
    assert "lifecycle" not in follower, "rank 0 drains, and the others compute for it meanwhile"
    assert leader["readinessProbe"]["httpGet"]["port"] == "http"
    assert follower["readinessProbe"]["httpGet"]["port"] == "probe"
    assert [each["resources"]["limits"]["nvidia.com/gpu"] for each in (leader, follower)] == ["2", "2"]
    mounts = {mount["name"] for mount in follower["volumeMounts"]}
    assert not mounts & {"access", "keys"}, "who asks is none of its business"
    assert leader["envFrom"] == follower["envFrom"]


def test_one_of_several_pods_of_a_replica_is_evicted_at_a_time() -> None:
    (budget,) = (
        each
        for each in a_scene(a_service().from_source("s3://models/chat").read().spread_over(tensor=2, nodes=2))
        .plan()
        .objects
        if each["kind"] == "PodDisruptionBudget"
    )
    assert budget["spec"]["maxUnavailable"] == 1
    (both,) = budget["spec"]["selector"]["matchExpressions"]
    assert both["values"] == ["engine", "engine-rank"]


def test_no_label_or_name_is_too_long_for_kubernetes() -> None:
    made = statefulsets(a_service("a" * 48).spread_over(tensor=16, nodes=16))
    assert max(len(each["metadata"]["name"]) for each in made) + len("-0123456789") <= 63


def test_a_changed_setting_has_another_configmap_and_so_another_template() -> None:
    one, other = objects(a_service()), objects(a_service().with_spec(engine={"maxNumSeqs": 7}))
    assert one["ConfigMap"]["metadata"]["name"] != other["ConfigMap"]["metadata"]["name"]
    template = other["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]
    assert template["envFrom"] == [{"configMapRef": {"name": other["ConfigMap"]["metadata"]["name"]}}]


def test_replicas_do_not_change_the_template() -> None:
    one, other = objects(a_service().with_replicas(1)), objects(a_service().with_replicas(9))
    assert one["StatefulSet"]["spec"]["template"] == other["StatefulSet"]["spec"]["template"]


def test_secrets_are_referred_to_and_only_by_known_keys() -> None:
    made = pod(CASES["s3"])["containers"][0]["env"]
    required = {v["name"] for v in made if not v["valueFrom"]["secretKeyRef"]["optional"]}
    assert required == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert {v["name"] for v in made} - required == {"AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL"}
    token, endpoint = pod(CASES["hub-with-token"])["containers"][0]["env"]
    assert token["valueFrom"]["secretKeyRef"] == {"name": "hf-token", "key": "HF_TOKEN", "optional": False}
    assert endpoint["name"] == "HF_TOKEN_ENDPOINT", "HF_ENDPOINT is where the model lies, and no Secret may change that"
    assert endpoint["valueFrom"]["secretKeyRef"] == {"name": "hf-token", "key": "HF_ENDPOINT", "optional": True}


def test_a_service_without_credentials_reads_no_secret() -> None:
    assert "env" not in pod(a_service())["containers"][0]


@pytest.mark.parametrize("shutdown", [{}, {"drainSeconds": 1, "lameDuckSeconds": 0}, {"drainSeconds": 3600}])
def test_a_pod_is_not_killed_before_its_drain_is_over(shutdown: Json) -> None:
    made = objects(a_service().with_spec(shutdown=shutdown))
    spec, reported = made["StatefulSet"]["spec"]["template"]["spec"], made["ConfigMap"]["data"]
    drain = int(reported["SHUTDOWN_LAME_DUCK_SECONDS"]) + int(reported["SHUTDOWN_DRAIN_SECONDS"])
    assert spec["terminationGracePeriodSeconds"] >= drain + 15
    assert spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1] == "drain"


def test_an_engine_that_a_probe_kills_does_not_hold_its_place_for_the_length_of_a_drain() -> None:
    container = pod(a_service())["containers"][0]
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["terminationGracePeriodSeconds"] <= 60


@pytest.mark.parametrize(
    ("draft", "of", "reported"),
    [
        ("pvc://models/small", "pvc://models/large", "/models/small"),
        ("hf://org/small", "hf://org/large", "org/small"),
        ("https://hub.example.com/org/small", "https://hub.example.com/org/large", "org/small"),
    ],
)
def test_the_draft_model_is_told_as_the_engine_reads_it(draft: str, of: str, reported: str) -> None:
    service = a_service().from_source(of).with_spec(engine={"speculative": {"method": "draft", "model": draft}})
    data = environment.engine("chat", LLMServiceSpec.model_validate(service.build()["spec"]))
    assert {name: text for name, text in data.items() if "SPECULATIVE" in name} == {
        "ENGINE_SPECULATIVE_MODEL": reported,
        "ENGINE_SPECULATIVE_METHOD": "draft",
        "ENGINE_SPECULATIVE_TOKENS": "4",
    }


@pytest.mark.parametrize(("timeout", "milliseconds"), [("20ms", 20), ("2s", 2000), ("0ms", 0), ("60s", 60_000)])
def test_the_engine_reads_the_batch_timeout_as_it_is_written(timeout: str, milliseconds: int) -> None:
    service = a_service().with_spec(engine={"batchTimeout": timeout})
    spec = LLMServiceSpec.model_validate(service.build()["spec"])
    assert BATCH_TIMEOUT.parse(environment.engine("chat", spec)["ENGINE_BATCH_TIMEOUT"]) == milliseconds


def test_names_fit_into_labels_for_the_longest_service() -> None:
    service = "s" * names.LONGEST_SERVICE_NAME
    children = [
        names.headless_service(service),
        names.environment(service, "x"),
        names.access(service, "x"),
        names.inspection(service, "x"),
        f"{names.engine_statefulset(service)}-{'f' * 10}",
    ]
    assert max(map(len, children)) <= 63


def test_inspections_of_two_long_names_are_two() -> None:
    assert names.inspection("s" * 49 + "a", "x") != names.inspection("s" * 49 + "b", "x")


def test_memory_on_a_cpu_holds_a_cache_for_each_process() -> None:
    service = a_service().on_cpu().with_spec(parallelism={"tensor": 2}, engine={"kvCacheMemory": "3Gi"})
    spec = LLMServiceSpec.model_validate(service.build()["spec"])
    scene = a_scene(service.with_status({"model": {"source": spec.model.source}}))
    (container,) = leader(scene.plan())["spec"]["template"]["spec"]["containers"]
    requests = container["resources"]["requests"]
    assert (requests["cpu"], requests["memory"]) == ("2", "10Gi")


def test_images_follow_the_accelerator() -> None:
    images = [
        pod(a_service().with_spec(accelerator={"type": kind}))["containers"][0]["image"]
        for kind in ("nvidia", "amd", "cpu")
    ]
    platform = Platform()
    assert images == [platform.runtime_image, platform.runtime_image_amd, platform.runtime_image_cpu]


@pytest.mark.parametrize(
    ("one", "other"), [("1000m", "1"), ("1Gi", "1024Mi"), ("0.5", "500m"), ("1e3", "1k"), ("2.5Gi", "2560Mi"), (1, "1")]
)
def test_quantities_are_compared_as_numbers(one: str | int, other: str) -> None:
    assert quantity.parse(one) == quantity.parse(other)


@pytest.mark.parametrize("text", ["", "1 Gi", "1gi", "Gi", "1GiB", "--1"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity such as"):
        quantity.parse(text)


def test_domains_of_media_reach_the_engine_by_who_lists_them() -> None:
    platform = Platform(allowed=Allowed(media_domains=("minio.example",)))
    service = a_service().with_spec(access={"mediaDomains": ["a.example", "b.example"]})
    data = objects(service, platform)["ConfigMap"]["data"]
    assert data["ACCESS_MEDIA_DOMAINS"] == "a.example,b.example"
    assert data["PLATFORM_MEDIA_DOMAINS"] == "minio.example"
    assert not {"ACCESS_MEDIA_DOMAINS", "PLATFORM_MEDIA_DOMAINS"} & objects(a_service())["ConfigMap"]["data"].keys()


def test_clients_decide_about_traces_where_the_platform_says_so() -> None:
    traced = a_service().with_spec(tracing={"endpoint": "http://jaeger:4317"})
    trusting = Platform(allowed=Allowed(trace_flags=True))
    assert objects(traced, trusting)["ConfigMap"]["data"]["TRUST_TRACE_FLAGS"] == "true"
    for service, platform in ((traced, Platform()), (a_service(), trusting)):
        assert "TRUST_TRACE_FLAGS" not in objects(service, platform)["ConfigMap"]["data"]


def test_a_service_account_is_that_of_the_engine_and_of_the_inspection_without_a_token() -> None:
    platform = Platform(allowed=Allowed(service_accounts=("team-a/reader",)))
    service = a_service().with_spec(serviceAccountName="reader", parallelism={"tensor": 2})
    (job,) = [each for each in a_scene(service).on(platform).plan().objects if each["kind"] == "Job"]
    engine = objects(service, platform)["StatefulSet"]["spec"]["template"]["spec"]
    for made in (job["spec"]["template"]["spec"], engine):
        assert made["serviceAccountName"] == "reader"
        assert made["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in pod(a_service())


IDS = {"runAsUser", "runAsGroup", "fsGroup"}


def securities(made: Any) -> list[Json]:
    """The securityContext of each pod and container, at any depth."""
    if isinstance(made, list):
        return [found for each in made for found in securities(each)]
    if not isinstance(made, dict):
        return []
    own = [made["securityContext"]] if "securityContext" in made else []
    return own + [found for each in made.values() for found in securities(each)]


@pytest.mark.parametrize("case", CASES)
def test_no_pod_names_a_user_if_the_cluster_chooses_it(case: str) -> None:
    """OpenShift's restricted-v2 refuses each user and group outside the range of the namespace."""
    free = [
        found
        for each in a_scene(CASES[case].read()).on(Platform(fixed_user=False)).plan().objects
        for found in securities(dict(each))
    ]
    assert free
    for found in free:
        assert not IDS & found.keys()
        assert found.get("runAsNonRoot", found.get("allowPrivilegeEscalation") is False) is True


@pytest.mark.parametrize("case", CASES)
def test_only_the_user_differs_if_the_cluster_chooses_it(case: str) -> None:
    fixed, free = (
        [
            dict(each)
            for each in a_scene(CASES[case].read()).on(platform).plan().objects
            if each["kind"] == "StatefulSet"
        ]
        for platform in (Platform(), Platform(fixed_user=False))
    )
    for one, other in zip(fixed, free, strict=True):
        template = one["spec"]["template"]["spec"]
        template["securityContext"] = {
            key: value for key, value in template["securityContext"].items() if key not in IDS
        }
        assert template == other["spec"]["template"]["spec"]


@pytest.mark.parametrize("policy", ["", "PreferDualStack"])
def test_services_have_the_platforms_family_policy(policy: str) -> None:
    made = a_scene(a_service().read()).on(Platform(ip_family_policy=policy)).plan().objects
    services = [each for each in made if each["kind"] == "Service"]
    assert len(services) == 2
    assert {each["spec"].get("ipFamilyPolicy", "") for each in services} == {policy}


def test_keys_of_s3_are_not_demanded_if_a_service_account_may_have_a_role() -> None:
    keys = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    platform = Platform(allowed=Allowed(service_accounts=("team-a/reader",)))
    service = a_service().from_source("s3://models/chat").with_spec(model={"credentialsRef": {"name": "s3"}})

    def demanded(made: ServiceBuilder) -> set[str]:
        template = objects(made, platform)["StatefulSet"]["spec"]["template"]
        found = template["spec"]["containers"][0]["env"]
        return {each["name"] for each in found if not each["valueFrom"]["secretKeyRef"]["optional"]}

    assert demanded(service) == keys
    assert demanded(service.with_spec(serviceAccountName="reader")) == set()
    hub = a_service().from_source("hf://org/a-1B", "0" * 40).with_spec(model={"credentialsRef": {"name": "hf"}})
    assert demanded(hub.with_spec(serviceAccountName="reader")) == {"HF_TOKEN"}
