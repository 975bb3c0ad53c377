"""Prints docs/reference/compatibility.md: clients, proxies, Prometheus set-ups, versions of Kubernetes, with tests.

Versions are read from what pins them; a test that is gone is an error.
"""

import ast
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ROOT / "hack" / "cluster" / "programs"
CLIENTS = "tests/integrations/test_clients.py"
POOLING = "tests/integrations/test_pooling_clients.py"
SYSTEMS = "tests/integrations/test_metrics_systems.py"
CONFIGURATIONS = "tests/cluster/test_prometheus_configurations.py"
LOGIN = "tests/unit/controller/prometheus/test_client.py"
CONNECTIONS = "tests/unit/runtime/vllm_plugins/test_connections.py"
GATEWAYS = "tests/integrations/test_gateway_api.py"
DEBIAN = "Debian 12"
PROMETHEUS_2 = f"2.42 ({DEBIAN})"

INTRODUCTION = """\
# Compatibility

<!-- Printed by hack/generators/compatibility_reference.py; change that. -->

What was tested with this version, and the tests that prove it: a path and the test's name, with its parameter in
brackets. Versions are those that the tests run with. Tests below `tests/unit` run with each change (`make check`),
those below `tests/cluster` with `make test`, those below `tests/integrations` with `make test-integrations`. Other
versions may work, too; what is known not to work is in [limits.md](../limits.md).
"""


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    name: str
    version: str
    what: str
    """What works, or what the service says if something is missing."""
    tests: tuple[str, ...]
    """PATH::TEST or PATH::TEST[PARAMETER]; `PATH` alone for all tests of a file."""


@dataclass(frozen=True)
class Group:
    """One table."""

    title: str
    text: str
    rows: tuple[Row, ...]


def package(name: str) -> str:
    """The version of a Python package that the tests of clients pin."""
    pins = (ROOT / "hack" / "venv" / "requirements-clients.txt").read_text()
    return _only(re.findall(rf"^{re.escape(name)}==(\S+)", pins, re.MULTILINE), name)


def module(program: str, path: str) -> str:
    """The version of a Go module that a program of the tests pins, without its `v`."""
    required = (PROGRAMS / program / "go.mod").read_text()
    return _only(re.findall(rf"^(?:require )?\s*{re.escape(path)} v(\S+)", required, re.MULTILINE), path)


def _only(found: list[str], name: str) -> str:
    if len(found) != 1:
        raise ValueError(f"{name}: {len(found)} versions are pinned, expected one")
    return found[0]


def clients() -> Group:
    """SDKs and what is built on them, and browsers."""

    def sdk(prefix: str) -> str:
        names = [name.removeprefix(prefix + " ") for name in calls() if name.startswith(prefix + " ")]
        return ", ".join(names)

    unchanged = f"{CLIENTS}::test_sdks_work_unchanged"
    drain = f"{CLIENTS}::test_clients_with_kept_connections_notice_no_drain"
    through = "Each call directly and through every proxy below, against real vLLM."
    return Group(
        "Clients",
        f"{through} Names of the calls are those of the test.",
        (
            Row("OpenAI SDK (Python)", package("openai"), sdk("openai"), (unchanged, drain)),
            Row("Anthropic SDK (Python)", package("anthropic"), sdk("anthropic"), (unchanged,)),
            Row("LiteLLM", package("litellm"), sdk("litellm"), (unchanged,)),
            Row(
                "LangChain",
                f"langchain-openai {package('langchain-openai')}, langchain-anthropic {package('langchain-anthropic')}",
                sdk("langchain"),
                (unchanged,),
            ),
            Row(
                "Cohere SDK (Python), directly",
                package("cohere"),
                "reranks, keys, caps, limits; embeddings of models with an instruction for input_type",
                (
                    f"{POOLING}::test_vectors_are_the_same_by_each_sdk_and_encoding",
                    f"{POOLING}::test_documents_are_ranked_the_same_by_each_sdk_and_route",
                    f"{POOLING}::test_refusals_reach_the_sdks_of_scores",
                    f"{POOLING}::test_an_input_type_needs_a_model_with_an_instruction_for_it",
                ),
            ),
            Row(
                "OpenAI SDK and LiteLLM for embeddings, scores, reranks and classes, directly",
                f"{package('openai')}, {package('litellm')}",
                "base64 and float, dimensions, token ids; refusals; what is charged",
                (POOLING,),
            ),
            Row(
                "Web page in a browser",
                "Chromium of " + DEBIAN,
                "answers, streams and refusals of an allowed origin; nothing of another one",
                (f"{CLIENTS}::test_a_page_in_a_browser_reads_answers_and_refusals_if_its_origin_is_listed",),
            ),
            Row(
                "Clients that offer HTTP/2 (`Upgrade: h2c`): Java's `HttpClient`",
                "the bytes of such requests",
                "answered over HTTP/1.1, on the same connection",
                (
                    f"{CONNECTIONS}::test_an_offer_of_another_protocol_is_declined_and_the_request_answered",
                    f"{CLIENTS}::test_clients_that_offer_http2_get_answers",
                ),
            ),
        ),
    )


def proxies() -> Group:
    """What stands between client and service."""

    def proxied(name: str) -> tuple[str, ...]:
        tests = (
            "clients_with_kept_connections_notice_no_drain",
            "a_retry_through_a_proxy_that_knows_both_replicas_reaches_the_other",
            "a_replica_that_ends_leaves_the_proxy_no_connection_that_fails",
            "events_pass_a_proxy_that_compresses_one_by_one",
            "large_bodies_pass",
            "a_page_in_a_browser_reads_answers_and_refusals_if_its_origin_is_listed",
        )
        return (f"{CLIENTS}::test_sdks_work_unchanged[{name}]", *(f"{CLIENTS}::test_{each}[{name}]" for each in tests))

    what = (
        "all calls of the clients above; event streams one by one, compressed too; drains and retries; bodies of "
        "6 MiB; pages of a browser"
    )
    return Group(
        "Proxies",
        "",
        (
            Row(
                "none: a Service (kube-proxy)",
                "a stand-in that balances connections",
                "drains, new replicas",
                (
                    f"{CLIENTS}::test_sdks_work_unchanged[direct]",
                    f"{CLIENTS}::test_clients_with_kept_connections_notice_no_drain[kube-proxy]",
                    f"{CLIENTS}::test_a_new_replica_gets_requests_of_clients_that_keep_their_connection",
                    f"{CLIENTS}::test_a_drained_replica_refuses_by_name_and_ends_the_connection",
                ),
            ),
            Row(
                "NGINX",
                f"1.22 ({DEBIAN})",
                f"{what}; set as [clients.md](../clients.md) says, with gzip",
                proxied("nginx"),
            ),
            Row(
                "Traefik",
                module("traefik", "github.com/traefik/traefik/v3"),
                f"{what}; as installed, with the middleware `compress`",
                proxied("traefik"),
            ),
            Row(
                "Traefik by the Gateway API",
                module("traefik", "github.com/traefik/traefik/v3"),
                "HTTPRoutes of hosts and of paths; event streams one by one; its reports in `Routed`. It knows no "
                "InferencePools, and says so",
                tuple(
                    f"{GATEWAYS}::test_{each}"
                    for each in (
                        "each_service_is_served_at_its_host",
                        "each_service_is_served_below_its_path",
                        "requests_follow_the_endpoints_and_streams_pass_event_by_event",
                        "what_the_gateway_objects_to_is_shown",
                    )
                ),
            ),
            Row(
                "Endpoint picker of the inference extension (lwepp)",
                module("endpoint-picker", "sigs.k8s.io/gateway-api-inference-extension"),
                "it reads the InferencePool and chooses among the ready pods of the service",
                (f"{GATEWAYS}::test_an_endpoint_picker_chooses_among_the_ready_pods_of_its_service",),
            ),
            Row(
                "CRDs of the Gateway API and its inference extension",
                f"{module('gateway-api', 'sigs.k8s.io/gateway-api')}, "
                f"{module('gateway-api', 'sigs.k8s.io/gateway-api-inference-extension')}",
                "HTTPRoute and InferencePool (v1), valid and without drift; policies on routes",
                ("tests/cluster/test_gateway_api.py",),
            ),
        ),
    )


def prometheus() -> Group:
    """What answers the autoscaler's queries, and how it is set up."""
    same = f"{SYSTEMS}::test_the_numbers_are_those_of_the_engine"
    dropped = f"{SYSTEMS}::test_dropped_buckets_are_named"
    three = module("prometheus3", "github.com/prometheus/prometheus")
    version_3 = f"3.{int(three.split('.')[1]) % 100}.{three.split('.')[2]}"

    def system(name: str, *more: str) -> tuple[str, ...]:
        return (f"{same}[{name}]", f"{dropped}[{name}]", *more)

    def configured(*names: str) -> tuple[str, ...]:
        return tuple(f"{CONFIGURATIONS}::test_{name}" for name in names)

    mimir = module("mimir", "github.com/grafana/mimir").rpartition("-")
    return Group(
        "Prometheus",
        "Scaling on latency ([scaling.md](../scaling.md)) reads the same numbers from each. If series are missing, it "
        "keeps the count and names them.",
        (
            Row(
                "Prometheus 2",
                PROMETHEUS_2,
                "the same numbers",
                ("tests/cluster/test_prometheus.py::test_percentiles_rates_and_gauges_are_those_of_prometheus",),
            ),
            Row("Prometheus 3", version_3, "the same numbers", system("prometheus3")),
            Row(
                "VictoriaMetrics",
                module("victoriametrics", "github.com/VictoriaMetrics/VictoriaMetrics"),
                "the same numbers",
                system("victoriametrics"),
            ),
            Row(
                "Thanos (sidecars and querier)",
                module("thanos", "github.com/thanos-io/thanos"),
                "the same numbers, of one or two Prometheus that scrape the same; answers without a store are not used",
                system(
                    "thanos",
                    f"{same}[thanos-duplicates]",
                    f"{SYSTEMS}::test_an_answer_without_one_of_the_stores_is_not_used",
                ),
            ),
            Row(
                "Mimir (remote write, tenants)",
                f"commit {mimir[2]}",
                "the same numbers of the tenant in `X-Scope-OrgID`",
                system("mimir", f"{SYSTEMS}::test_series_of_all_tenants_but_one_are_not_seen"),
            ),
            Row(
                "KEDA",
                module("keda", "github.com/kedacore/keda/v2"),
                "reads the load from Prometheus and scales",
                ("tests/integrations/test_keda.py",),
            ),
            Row(
                "native histograms (`convert_classic_histograms_to_nhcb`)",
                version_3,
                "named; works with `always_scrape_classic_histograms`",
                (
                    f"{SYSTEMS}::test_histograms_that_are_converted_to_native_ones_are_named",
                    f"{SYSTEMS}::test_converted_histograms_that_keep_their_buckets_scale",
                ),
            ),
            Row(
                "buckets are dropped, all or some",
                PROMETHEUS_2,
                "named; `_sum` and `_count` are not needed",
                configured(
                    "dropped_buckets_are_named",
                    "some_dropped_buckets_are_named_and_no_percentile_is_guessed",
                    "dropped_counts_are_not_needed",
                ),
            ),
            Row(
                "other series are dropped",
                PROMETHEUS_2,
                "no zero is read",
                configured("a_dropped_gauge_or_counter_is_no_zero"),
            ),
            Row("metrics are renamed (`vllm_…`)", PROMETHEUS_2, "named", configured("renamed_series_are_named")),
            Row(
                "labels are relabelled",
                PROMETHEUS_2,
                "other names are a setting; a collector in between is named",
                configured(
                    "a_missing_label_is_named_with_the_one_that_is_there",
                    "labels_of_an_exporter_in_between_are_not_the_pods",
                ),
            ),
            Row(
                "recording rules under the engines' names",
                PROMETHEUS_2,
                "left out",
                configured("series_that_rules_record_are_no_engines"),
            ),
            Row(
                "external labels as matchers",
                PROMETHEUS_2,
                "named",
                configured("a_label_of_remote_systems_in_the_matchers_finds_nothing_and_says_so"),
            ),
            Row(
                "two scrape jobs for the same pods",
                PROMETHEUS_2,
                "counted once",
                ("tests/cluster/test_prometheus.py::test_engines_that_two_jobs_scrape_count_once",),
            ),
            Row(
                "Basic authentication",
                "stand-in",
                "user and password from a Secret",
                (f"{LOGIN}::test_user_and_password_are_sent_and_the_password_may_change",),
            ),
            Row(
                "bearer token, headers",
                "stand-in",
                "token from a Secret",
                (f"{LOGIN}::test_token_and_headers_are_sent_and_the_token_may_change",),
            ),
            Row(
                "private CA, client certificates",
                "stand-in",
                "from a Secret or ConfigMap; renewals are taken up",
                (
                    f"{LOGIN}::test_https_with_its_own_ca",
                    f"{LOGIN}::test_a_renewed_ca_is_taken_up",
                    f"{LOGIN}::test_a_client_certificate_is_shown_where_one_is_asked_for",
                ),
            ),
        ),
    )


def kubernetes() -> Group:
    """Versions of the API server, its controllers and kubelet."""
    earlier = sorted(PROGRAMS.glob("kubernetes-*"), key=lambda each: tuple(map(int, each.name[11:].split("."))))
    versions = [module(each.name, "k8s.io/kubernetes") for each in earlier] + [module("cluster", "k8s.io/kubernetes")]
    text = "`make test-versions` runs all tests below `tests/cluster` with each version; `make test` with the newest."
    newest = versions[-1]
    rows = (
        Row(
            "Kubernetes",
            version,
            "all tests on a real API server"
            if version == newest
            else "all tests on a real API server, but for what that version lacks: "
            "[scaling.md](../scaling.md#older-kubernetes)",
            ("tests/cluster",),
        )
        for version in versions
    )
    families = Row(
        "dual stack, and IPv6 alone (`make test-families`)",
        newest,
        "vLLM on each address of pods and Services, the metrics API and HPAs, replicas on several nodes, Prometheus",
        (
            "tests/e2e/test_families.py",
            "tests/e2e/test_nodes.py",
            "tests/e2e/test_scaling.py",
            "tests/cluster/test_metrics_api.py",
        ),
    )
    proxied = Row(
        "pods behind a forward proxy, a hub with a private CA",
        newest,
        "models are read and loaded through the proxy alone",
        ("tests/e2e/test_proxy.py",),
    )
    return Group("Kubernetes", text, (*rows, families, proxied))


def groups() -> tuple[Group, ...]:
    """All tables."""
    return (clients(), proxies(), prometheus(), kubernetes())


@cache
def _tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def calls() -> Iterable[str]:
    """The calls of the SDKs, by the names that the test gives them."""
    for each in _tree(CLIENTS).body:
        if isinstance(each, ast.AnnAssign) and getattr(each.target, "id", "") == "EXPECTED":
            assert each.value is not None
            return list(_names(each.value))
    raise ValueError(f"{CLIENTS} has no EXPECTED")


def _names(value: ast.expr) -> Iterable[str]:
    assert isinstance(value, ast.Dict)
    return [key.value for key in value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]


def missing(test: str) -> str:
    """Why there is no such test; empty if there is one."""
    path, _, rest = test.partition("::")
    if not (ROOT / path).exists():
        return f"{path} does not exist"
    if not rest:
        return ""
    name, _, parameter = rest.removesuffix("]").partition("[")
    functions: Mapping[str, object] = {
        each.name: each for each in _tree(path).body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    if name not in functions:
        return f"{path} has no function {name}"
    texts = {each.value for each in ast.walk(_tree(path)) if isinstance(each, ast.Constant)}
    return "" if not parameter or parameter in texts else f"{path} has no parameter {parameter}"


def main() -> None:
    """Prints the page."""
    sys.stdout.write(INTRODUCTION)
    for group in groups():
        sys.stdout.write(f"\n## {group.title}\n\n")
        if group.text:
            sys.stdout.write(f"{group.text}\n\n")
        sys.stdout.write("| with | version | what works | tests |\n|---|---|---|---|\n")
        for row in group.rows:
            gone = [why for test in row.tests if (why := missing(test))]
            if gone:
                sys.exit(f"{row.name}: {'; '.join(gone)}. Change hack/generators/compatibility_reference.py.")
            sys.stdout.write(f"| {row.name} | {row.version} | {row.what} | {_cell(row.tests)} |\n")


def _cell(tests: Iterable[str]) -> str:
    by_path: dict[str, list[str]] = {}
    for test in tests:
        path, _, name = test.partition("::")
        by_path.setdefault(path, []).extend([name] if name else [])
    shown = (
        f"`{path}`" + (": " + ", ".join(f"`{name}`" for name in names) if names else "")
        for path, names in by_path.items()
    )
    return "; ".join(shown)


if __name__ == "__main__":
    main()
