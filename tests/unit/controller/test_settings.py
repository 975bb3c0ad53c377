"""Settings: what a platform team sets is in force, and what is wrong is said all at once."""

import json
from decimal import Decimal
from typing import Any

import pytest

from llmservice_operator.config.settings import SettingsError, from_environment
from llmservice_operator.resources.platform import ANY_POD, Network, Price


def priced(
    product: str = "A", price: str = "1", source: str = '"s"', date: str = '"2026-11-01"', currency: str = "EUR"
) -> str:
    """Prices with one of these parts wrong."""
    one = f'{{"price": {price}, "source": {source}, "date": {date}}}'
    return f'{{"currency": "{currency}", "gpuHours": {{"{product}": {one}}}}}'


def test_nothing_need_be_set() -> None:
    settings = from_environment({})
    assert settings.namespaces == ()
    assert settings.leader_election
    assert settings.platform.image_pull_policy == "IfNotPresent"


def test_what_is_set_is_in_force() -> None:
    settings = from_environment(
        {
            "LLMSERVICE_NAMESPACES": "team-a, team-b,team-a",
            "LLMSERVICE_RUNTIME_IMAGE_CPU": "localhost/llmservice/runtime-cpu:0.3.0",
            "LLMSERVICE_IMAGE_PULL_POLICY": "never",
            "LLMSERVICE_IMAGE_PULL_SECRETS": "one,two",
            "LLMSERVICE_LEADER_ELECTION": "false",
            "LLMSERVICE_RESYNC_SECONDS": "30",
            "LLMSERVICE_CLUSTER_DOMAIN": "example.internal",
        }
    )
    assert settings.namespaces == ("team-a", "team-b")
    assert settings.platform.runtime_image_cpu == "localhost/llmservice/runtime-cpu:0.3.0"
    assert settings.platform.image_pull_policy == "Never"
    assert settings.platform.image_pull_secrets == ("one", "two")
    assert not settings.leader_election
    assert settings.resync_seconds == 30
    assert settings.platform.cluster_domain == "example.internal"


def test_every_problem_is_said_at_once_with_variable_value_and_what_is_allowed() -> None:
    with pytest.raises(SettingsError) as caught:
        from_environment(
            {
                "LLMSERVICE_WORKERS": "0",
                "LLMSERVICE_LOG_FORMAT": "xml",
                "LLMSERVICE_LEADER_ELECTION": "perhaps",
                "LLMSERVICE_NAMESPACES": "Team_A",
            }
        )
    problems = caught.value.problems
    assert "LLMSERVICE_WORKERS is '0', but must be a whole number from 1 to 256" in problems
    assert "LLMSERVICE_LOG_FORMAT is 'xml', but must be text or json" in problems
    assert len(problems) == 4


def test_one_port_can_t_serve_both() -> None:
    with pytest.raises(SettingsError, match="both are 9000"):
        from_environment({"LLMSERVICE_HEALTH_PORT": "9000", "LLMSERVICE_METRICS_PORT": "9000"})


def test_scaling_and_prometheus_are_read() -> None:
    settings = from_environment(
        {
            "LLMSERVICE_SCALING_ADAPTER": "own",
            "LLMSERVICE_POD_IP": "10.0.0.7",
            "LLMSERVICE_PROMETHEUS_URL": "https://prometheus.monitoring:9090/tenant/",
            "LLMSERVICE_PROMETHEUS_HEADERS": '{"X-Scope-OrgID": "team"}',
            "LLMSERVICE_PROMETHEUS_MATCHERS": 'cluster="a", job=~"engines|llm"',
            "LLMSERVICE_PROMETHEUS_TOKEN_FILE": "/secrets/token",
        }
    )
    assert settings.platform.adapter == "own"
    assert settings.scaling.pod_ip == "10.0.0.7"
    assert settings.prometheus.url == "https://prometheus.monitoring:9090/tenant"
    assert settings.prometheus.headers == {"X-Scope-OrgID": "team"}
    assert settings.prometheus.matchers == 'cluster="a", job=~"engines|llm"'
    assert str(settings.prometheus.token_file) == "/secrets/token"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LLMSERVICE_SCALING_ADAPTER", "hpa"),
        ("LLMSERVICE_SCALING_INTERVAL_SECONDS", "0"),
        ("LLMSERVICE_POD_IP", "operator.local"),
        ("LLMSERVICE_PROMETHEUS_URL", "prometheus:9090"),
        ("LLMSERVICE_PROMETHEUS_URL", "http://user:password@prometheus"),
        ("LLMSERVICE_PROMETHEUS_HEADERS", '["X-Scope-OrgID"]'),
        ("LLMSERVICE_PROMETHEUS_HEADERS", '{"X-Scope-OrgID": "a\\nb: c"}'),
        ("LLMSERVICE_PROMETHEUS_HEADERS", '{"a b": "c"}'),
        ("LLMSERVICE_PROMETHEUS_MATCHERS", 'cluster="a"} or vector(1) #'),
        ("LLMSERVICE_PROMETHEUS_POD_LABEL", "pod-name"),
    ],
)
def test_a_setting_of_scaling_that_can_t_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        from_environment({name: value})


def test_a_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(SettingsError, match="must be set together"):
        from_environment({"LLMSERVICE_PROMETHEUS_CERT_FILE": "/secrets/tls.crt"})


def test_prices_are_exact_and_keep_where_they_are_from() -> None:
    contract = '{"price": 2.49, "source": "contract 4711", "date": "2026-11-01"}'
    listed = '{"price": "0.80", "source": "list", "date": "2026-01-31"}'
    text = f'{{"currency": "EUR", "gpuHours": {{"NVIDIA-H100-80GB-HBM3": {contract}, "NVIDIA-A10": {listed}}}}}'
    prices = from_environment({"LLMSERVICE_COST": text}).platform.prices
    assert prices.currency == "EUR"
    assert prices.gpu_hours["NVIDIA-H100-80GB-HBM3"] == Price(Decimal("2.49"), "contract 4711", "2026-11-01")
    assert str(prices.gpu_hours["NVIDIA-A10"].per_hour) == "0.80"


def test_no_prices_are_no_mistake() -> None:
    for text in ("", '{"currency": "", "gpuHours": {}}', '{"currency": "EUR"}'):
        assert from_environment({"LLMSERVICE_COST": text}).platform.prices.gpu_hours == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("EUR", "must be a JSON object"),
        ("[]", "must be a JSON object"),
        ('{"currency": "EUR", "gpuHours": {"A": 2.49}}', "gpuHours.A must have price, source and date"),
        ('{"currency": "EUR", "gpuHours": {"A": {"price": 1, "source": "s"}}}', "gpuHours.A must have price"),
        (priced(price='"free"'), "gpuHours.A.price is 'free'"),
        (priced(price="-1"), "gpuHours.A.price is '-1'"),
        (priced(price="1e3"), "gpuHours.A.price is '1e3'"),
        (priced(price="null"), "gpuHours.A.price is None"),
        (priced(date='"01.11.2026"'), "gpuHours.A.date is '01.11.2026'"),
        (priced(date='"2026-02-30"'), "gpuHours.A.date is '2026-02-30'"),
        (priced(source='" "'), "gpuHours.A.source must name"),
        (priced(product="A B"), "a product must be the value of a node label"),
        (priced(currency="euro"), "currency is 'euro'"),
        (priced(currency=""), "currency is ''"),
    ],
)
def test_a_price_that_can_t_be_used_is_named(text: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_environment({"LLMSERVICE_COST": text})
    assert words in str(caught.value) and "LLMSERVICE_COST" in str(caught.value)


def test_limits_of_engines_are_auto_none_or_a_quantity() -> None:
    reported = {"LLMSERVICE_MEMORY_LIMIT": "none", "LLMSERVICE_EPHEMERAL_STORAGE_LIMIT": "300Gi"}
    platform = from_environment(reported).platform
    assert (platform.memory_limit, platform.ephemeral_storage_limit) == ("None", "300Gi")
    assert from_environment({}).platform.memory_limit == "Auto"
    for bad in ("lots", "0", "-1Gi", "1 Gi"):
        with pytest.raises(SettingsError, match="LLMSERVICE_MEMORY_LIMIT"):
            from_environment({"LLMSERVICE_MEMORY_LIMIT": bad})


def test_without_a_word_on_the_network_there_are_no_policies() -> None:
    assert from_environment({}).platform.network is None
    assert from_environment({"LLMSERVICE_NETWORK_POLICY": "{}"}).platform.network == Network(pods=(ANY_POD,))


def test_what_is_said_of_the_network_is_in_force() -> None:
    peers = [
        {
            "podSelector": {"matchLabels": {"app": "web"}, "matchExpressions": []},
            "namespaceSelector": {"matchLabels": {}},
        },
        {"namespaceSelector": {"matchExpressions": [{"key": "a.b/c", "operator": "Exists", "values": []}]}},
        {"ipBlock": {"cidr": "10.0.0.0/8", "except": []}},
    ]
    given = {"clients": peers, "pods": [], "except": ["10.96.0.0/12"], "apiServer": ["10.96.0.1/32", "fd00::1/128"]}
    network = from_environment({"LLMSERVICE_NETWORK_POLICY": json.dumps(given)}).platform.network
    assert network is not None
    assert network.clients == (
        {"podSelector": {"matchLabels": {"app": "web"}}, "namespaceSelector": {}},
        {"namespaceSelector": {"matchExpressions": [{"key": "a.b/c", "operator": "Exists"}]}},
        {"ipBlock": {"cidr": "10.0.0.0/8"}},
    ), "as the API server stores it, or it would be applied for ever"
    assert (network.pods, network.excepted) == ((), ("10.96.0.0/12",))
    assert network.api_server == ("10.96.0.1/32", "fd00::1/128")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("[]", "must be a JSON object"),
        ("[" * 70_000, "must be a JSON object"),
        ("[" * 60_000, "must be a JSON object"),
        ({"client": []}, "client is unknown"),
        ({"clients": {}}, "clients must be a list of at most 16"),
        ({"clients": [{"namespaceSelector": {}}] * 17}, "clients must be a list of at most 16"),
        ({"clients": [{}]}, "clients[0]"),
        ({"clients": [{"podSelector": {}}, {"podselector": {}}]}, "clients[1]"),
        ({"gateways": [{"podSelector": {"matchLabels": {"a b": "c"}}}]}, "gateways[0]"),
        ({"gateways": [{"podSelector": {"matchLabels": {"a": 1}}}]}, "gateways[0]"),
        ({"gateways": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}]}, "gateways[0]"),
        ({"gateways": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Gt"}]}}]}, "gateways[0]"),
        ({"prometheus": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]}, "prometheus[0]"),
        ({"prometheus": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}, "prometheus[0]"),
        ({"prometheus": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}, "prometheus[0]"),
        ({"except": ["10.0.0.0/8", "everything"]}, "except[1] must be a CIDR"),
        ({"except": ["10.0.0.1"]}, "except[0] must be a CIDR"),
        ({"apiServer": ["10.0.0.1/32"] * 33}, "apiServer must be a list of at most 32"),
        ({"apiServer": [1]}, "apiServer[0] must be a CIDR"),
    ],
)
def test_a_network_that_can_t_be_used_is_named(given: Any, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_environment({"LLMSERVICE_NETWORK_POLICY": given if isinstance(given, str) else json.dumps(given)})
    assert words in str(caught.value) and "LLMSERVICE_NETWORK_POLICY" in str(caught.value)


def test_limits_of_cpu_and_resources_of_inspections_are_read_and_checked() -> None:
    stated = {"requests": {"cpu": "100m"}, "limits": {"cpu": 1, "memory": "1Gi"}}
    platform = from_environment(
        {"LLMSERVICE_CPU_LIMIT": "request", "LLMSERVICE_INSPECTION_RESOURCES": json.dumps(stated)}
    ).platform
    assert platform.cpu_limit == "Request"
    assert platform.inspection_resources == {"requests": {"cpu": "100m"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    for name, value in (
        ("LLMSERVICE_CPU_LIMIT", "Auto"),
        ("LLMSERVICE_CPU_LIMIT", "0"),
        ("LLMSERVICE_CPU_LIMIT", "2000"),
        ("LLMSERVICE_INSPECTION_RESOURCES", '{"limits": {"nvidia.com/gpu": 1}}'),
        ("LLMSERVICE_INSPECTION_RESOURCES", '{"claims": {}}'),
        ("LLMSERVICE_INSPECTION_RESOURCES", '{"limits": {"cpu": "much"}}'),
        ("LLMSERVICE_INSPECTION_RESOURCES", '{"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}'),
    ):
        with pytest.raises(SettingsError, match=name):
            from_environment({name: value})
