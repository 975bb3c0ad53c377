"""Rules use only metrics that exist, each alert has a runbook, and promtool shows that each fires and resolves."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmservice_operator.planner.report import reasons
from support.alert_rules import OPERATOR, RUNBOOKS, alerts, recordings, text
from support.known_metrics import KNOWN, TARGET_LABELS
from support.promql import matched_labels, metrics_of

ROOT = Path(__file__).parents[3]
PAGES = {page.stem: page for page in (ROOT / RUNBOOKS).glob("*.md")}
RECORDED = {rule["record"] for rule in recordings()}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed; hack/cluster/install-tools installs it"
)

POD = 'namespace="team-a", pod="chat-0", instance="10.0.0.1:8002"'
OWN = f'namespace="{OPERATOR}", pod="operator-1", llmservice_namespace="team-a", llmservice="chat"'
WANTED = {f'llmservice_replicas{{{OWN}, state="desired"}}': "1x300"}
"""The operator says that the service is one of its own."""
TTFT = "vllm:time_to_first_token_seconds"
OBJECTIVE = {
    f'llmservice_latency_objective_ratio{{{OWN}, latency="timeToFirstToken", percentile="p99", le="0.2"}}': "0.99x300"
}


def missing(share: int, bad: int, good: int) -> dict[str, str]:
    """100 requests per minute, of which `share` miss the target in the first `bad` minutes and none in `good` more."""
    within = 100 - share
    return {
        f'{TTFT}_bucket{{{POD}, le="0.2"}}': f"0+{within}x{bad} {within * bad + 100}+100x{good}",
        f"{TTFT}_count{{{POD}}}": f"0+100x{bad + good + 1}",
        **WANTED,
        **OBJECTIVE,
    }


def responses(failed: int, bad: int, good: int) -> dict[str, str]:
    """The same with errors."""
    labels = f'{POD}, handler="/v1/chat/completions", method="POST"'
    answered = 100 - failed
    return {
        f'http_requests_total{{{labels}, status="2xx"}}': f"0+{answered}x{bad} {answered * bad + 100}+100x{good}",
        f'http_requests_total{{{labels}, status="5xx"}}': f"0+{failed}x{bad} {failed * bad}+0x{good}",
        **WANTED,
    }


def condition(kind: str, status: str, reason: str, minutes: int) -> dict[str, str]:
    """A condition that is there for some minutes."""
    return {f'llmservice_condition{{{OWN}, type="{kind}", status="{status}", reason="{reason}"}}': f"1x{minutes} stale"}


def operator(name: str, values: str, labels: str = "") -> dict[str, str]:
    """A series of the operator."""
    return {f'llmservice_operator_{name}{{namespace="{OPERATOR}", pod="operator-1"{labels}}}': values}


def gateway(code: str, values: str) -> dict[str, str]:
    """A series of the gateway, as Prometheus keeps its labels."""
    labels = f'namespace="{OPERATOR}", exported_namespace="team-a", service="chat"'
    return {f'llmservice_gateway_requests_total{{{labels}, code="{code}"}}': values}


READY = f'llmservice_replicas{{{OWN}, state="ready"}}'
CASES: dict[str, tuple[dict[str, str], int, int]] = {
    "LLMServiceLatencyBudgetBurnsFast": (missing(20, 15, 40), 12, 50),
    "LLMServiceLatencyBudgetBurnsSlowly": (missing(4, 24, 90), 23, 110),
    "LLMServiceErrorBudgetBurnsFast": (responses(10, 15, 40), 12, 50),
    "LLMServiceErrorBudgetBurnsSlowly": (responses(2, 24, 90), 23, 110),
    "LLMServiceNoReadyReplica": ({**WANTED, READY: "0x20 1x20"}, 15, 25),
    "LLMServiceStalled": (condition("Stalled", "True", "GPUOutOfMemory", 20), 15, 25),
    "LLMServiceRolloutFailed": (condition("RolledOut", "False", "RolledBack", 20), 5, 25),
    "LLMServiceModelFetchFails": (condition("Serving", "False", "HubUnreachable", 20), 15, 25),
    "LLMServiceEngineRestarts": (
        {
            f"process_start_time_seconds{{{POD}}}": "1x5 2x5 3x5 4x70",
            f"llm_active_requests{{{POD}}}": "0x90",
            **WANTED,
        },
        20,
        80,
    ),
    "LLMServiceEngineHangs": ({f"llm_engine_stalled_seconds{{{POD}}}": "0 60 120 180 0x10", **WANTED}, 3, 8),
    "LLMServiceQueueTooLong": (
        {f"vllm:num_requests_waiting{{{POD}}}": "50x20 0x20", f"vllm:num_requests_running{{{POD}}}": "8x40", **WANTED},
        15,
        25,
    ),
    "LLMServiceKVCacheFull": (
        {
            f"vllm:kv_cache_usage_perc{{{POD}}}": "0.99x40 0.2x20",
            f"vllm:num_preemptions_total{{{POD}}}": "0+5x60",
            **WANTED,
        },
        30,
        50,
    ),
    "LLMServiceScalingBlind": (condition("ScalingActive", "False", "NoSeries", 30), 20, 35),
    "LLMServiceTargetUnreachable": (condition("ScalingActive", "False", "TargetUnreachable", 40), 35, 45),
    "LLMServiceOperatorNoLeader": (operator("leader", "_x10 1x10"), 8, 15),
    "LLMServiceOperatorErrors": (
        operator("reconciles_total", "0+30x50", ', result="ok"')
        | operator("reconciles_total", "0+10x22 220+0x28", ', result="RequestRefused"'),
        20,
        40,
    ),
    "LLMServiceOperatorQueueLong": (operator("queue_depth", "40x22 0x10"), 20, 30),
    "LLMServicePrometheusReadsFail": (
        operator("prometheus_reads_total", "0x30 0+4x40", ', result="ok"')
        | operator("prometheus_reads_total", "0+4x30 120x40", ', result="PrometheusTimeout"'),
        25,
        60,
    ),
    "LLMServiceGatewayErrors": (gateway("200", "0+90x60") | gateway("503", "0+10x30 300x30"), 20, 50),
    "LLMServiceGatewayCertificateRefused": (
        {f'llmservice_gateway_configuration_valid{{namespace="{OPERATOR}", pod="gateway-1"}}': "0x20 1x20"},
        15,
        25,
    ),
}
"""Series, one sample each minute; a minute at which the alert fires, and one at which it doesn't any more."""


def test_every_alert_has_a_case_and_a_runbook_and_no_page_is_of_another() -> None:
    assert alerts().keys() == CASES.keys() == PAGES.keys()


@pytest.mark.parametrize("name", alerts())
def test_an_alert_has_a_severity_and_names_its_runbook(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["runbook_url"] == f"{RUNBOOKS}/{name}.md"
    assert {"summary", "description"} <= rule["annotations"].keys()
    page = PAGES[name].read_text()
    assert page.startswith(f"# {name}\n")
    for part in ("Impact", "Diagnosis", "Fix"):
        assert f"**{part}.**" in page
    for link in re.findall(r"\]\(([^)#]+)", page):
        assert (PAGES[name].parent / link).exists(), f"{name}.md links to {link}"


@pytest.mark.parametrize(
    "rule", [*recordings(), *alerts().values()], ids=lambda each: each.get("record") or each["alert"]
)
def test_each_metric_of_a_rule_exists(rule: dict[str, Any]) -> None:
    unknown = metrics_of(rule["expr"]) - KNOWN.keys() - RECORDED
    assert not unknown, f"no program exports {sorted(unknown)}"
    for metric, label in matched_labels(rule["expr"]):
        if metric in KNOWN:
            assert label in KNOWN[metric] | TARGET_LABELS, f"{metric} has no label {label}"


def test_each_reason_of_an_alert_exists() -> None:
    named = {
        reason
        for rule in alerts().values()
        for found in re.findall(r'reason=~?"([\w|]+)"', rule["expr"])
        for reason in found.split("|")
    }
    assert named and not named - reasons.TABLE.keys()


@needs_promtool
def test_each_alert_fires_and_resolves(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(text())
    subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yaml"], check=True, capture_output=True)
    leads = operator("leader", "1x300")
    tests = []
    for name, (series, fires, resolved) in CASES.items():
        given = series if name == "LLMServiceOperatorNoLeader" else leads | series
        state = f'count by (alertname) (ALERTS{{alertname="{name}", alertstate="firing"}})'
        expected = [{"labels": f'{{alertname="{name}"}}', "value": 1}]
        tests.append(
            {
                "name": name,
                "interval": "1m",
                "input_series": [{"series": each, "values": values} for each, values in given.items()],
                "promql_expr_test": [
                    {"expr": state, "eval_time": f"{fires}m", "exp_samples": expected},
                    {"expr": state, "eval_time": f"{resolved}m", "exp_samples": []},
                ],
            }
        )
    promtool(tmp_path, tests)


def elsewhere(series: dict[str, str]) -> dict[str, str]:
    """The same, as a pod of a tenant exports it: Prometheus gives it the namespace of the pod."""
    return {each.replace(f'namespace="{OPERATOR}"', 'namespace="team-b"', 1): given for each, given in series.items()}


def promtool(tmp_path: Path, tests: list[dict[str, Any]]) -> None:
    """Runs unit tests of the rules."""
    (tmp_path / "rules.yaml").write_text(text())
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document, width=1000))
    done = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "tests.yaml"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


OF_OPERATOR = [name for name in CASES if name != "LLMServiceOperatorNoLeader"]


@needs_promtool
def test_series_that_a_tenants_pod_exports_fire_no_alert(tmp_path: Path) -> None:
    """A pod of a tenant can export any series, but not in the operator's namespace: each alert needs one there."""
    tests = []
    for name in OF_OPERATOR:
        series = operator("leader", "1x300") | elsewhere(CASES[name][0])
        quiet = {"expr": 'ALERTS{alertstate="firing"}', "eval_time": f"{CASES[name][1]}m", "exp_samples": []}
        given = [{"series": each, "values": values} for each, values in series.items()]
        tests.append({"name": name, "interval": "1m", "input_series": given, "promql_expr_test": [quiet]})
    promtool(tmp_path, tests)


@needs_promtool
def test_a_new_installation_without_services_fires_no_alert(tmp_path: Path) -> None:
    """Its counters are 0 or absent, and no series of a service exists."""
    fresh = (
        operator("leader", "1x300")
        | operator("queue_depth", "0x300")
        | operator("reconciles_total", "0x300", ', result="ok"')
        | operator("prometheus_reads_total", "0x300", ', result="ok"')
    )
    given = [{"series": each, "values": values} for each, values in fresh.items()]
    quiet = {"expr": 'ALERTS{alertstate=~"firing|pending"}', "eval_time": "2h", "exp_samples": []}
    promtool(tmp_path, [{"interval": "1m", "input_series": given, "promql_expr_test": [quiet]}])
