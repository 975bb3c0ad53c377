"""`kubectl llm explain`, as a person meets it: one screen that says what is the matter and what to do."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from builders.pods import PodBuilder, a_pod
from llmservice_operator.cli.explain import operator_health
from support.fake_api import refusal
from unit.cli.conftest import NOW, Done, Terminal

SPEC = {
    "model": {"source": "hf://Qwen/Qwen3-8B", "revision": "0e9e39f249a16976918f6564b8830bc894c89659"},
    "quantization": {"method": "fp8"},
    "parallelism": {"tensor": 2},
    "accelerator": {"products": ["NVIDIA-H100-80GB-HBM3"]},
    "replicas": 2,
    "scaling": {"maxReplicas": 8, "targets": {"timeToFirstToken": {"p99": "200ms"}}},
}
COST = {
    "currency": "EUR",
    "perHour": "4.98",
    "gpus": [
        {
            "product": "NVIDIA-H100-80GB-HBM3",
            "count": 2,
            "price": "2.49",
            "source": "contract 4711",
            "date": "2026-11-01",
        }
    ],
}
NO_DEVICES = {
    "reason": "NoFreeDevices",
    "certainty": "Certain",
    "message": "chat-1: 1 of 2 replicas can't be scheduled: none of 4 nodes has 2 nvidia.com/gpu free",
    "field": "spec.replicas",
    "fix": "Free GPUs, or ask for fewer replicas.",
}


def at(seconds: float) -> str:
    """So many seconds before now, as the API server writes it."""
    return (NOW - datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at(750)}


READY = [condition("Ready", "True", "Ready", "2 of 2 replicas answering"), condition("Serving", "True", "Serving")]
NOT_READY = [
    condition("Ready", "False", "NoFreeDevices", NO_DEVICES["message"]),
    condition("Scheduled", "False", "NoFreeDevices", NO_DEVICES["message"]),
    condition("Serving", "True", "Serving"),
]


def service(terminal: Terminal, conditions: list[dict[str, str]], *pods: PodBuilder, **status: Any) -> None:
    """The service `chat` with this status, and its pods."""
    terminal.api.around = {"pods": [pod.build() for pod in pods]}
    whole = {"observedGeneration": 3, "conditions": conditions, "readyReplicas": 1, "gpus": 4, **status}
    terminal.api.place("LLMService", "team-a", "chat", spec=SPEC, status=whole)
    terminal.api.objects["LLMService", "team-a", "chat"]["metadata"] |= {"generation": 3, "creationTimestamp": at(9000)}


def explain(terminal: Terminal, line: str = "chat") -> Done:
    return terminal.run(f"explain {line}", group=())


def flat(done: Done) -> str:
    """What was printed, wherever lines were broken."""
    return " ".join(done.out.split())


def test_what_it_wants_what_is_why_not_and_what_to_do(terminal: Terminal) -> None:
    service(
        terminal, NOT_READY, a_pod("chat-0").ready(), a_pod("chat-1").unschedulable(), findings=[NO_DEVICES], cost=COST
    )
    done = explain(terminal)
    assert done.status == 2
    assert done.out == (
        "chat in team-a: not Ready for 12 min: NoFreeDevices\n"
        "\n"
        "Desired           2 replicas of hf://Qwen/Qwen3-8B at 0e9e39f249a1 in fp8, each on 2 NVIDIA GPUs\n"
        "                  (NVIDIA-H100-80GB-HBM3); 1 to 8 by p99 timeToFirstToken 200ms\n"
        "Current           1 of 2 replicas ready; 4 GPUs requested\n"
        "Cost              EUR 4.98 an hour: 2 x NVIDIA-H100-80GB-HBM3 at 2.49 (contract 4711, 2026-11-01)\n"
        "\n"
        "Why               NoFreeDevices (certain): chat-1: 1 of 2 replicas can't be scheduled: none of 4\n"
        "                  nodes has 2 nvidia.com/gpu free\n"
        "                  Fix: Free GPUs, or ask for fewer replicas. [spec.replicas]\n"
        "                  More: docs/operations/NoFreeDevices.md\n"
        "\n"
        "Pods              chat-1   no node\n"
        "                  chat-0   ready     on gpu-0\n"
    )


def test_a_ready_service_says_so_in_its_status_and_asks_for_little(terminal: Terminal) -> None:
    service(terminal, READY, a_pod("chat-0").ready())
    done = explain(terminal)
    assert done.status == 0
    assert done.out.startswith("chat in team-a: Ready for 12 min\n")
    assert "Why" not in done.out
    assert not [call for call in terminal.api.calls if "log" in call or "nodes" in call]


def test_what_keeps_nobody_from_being_served_stands_apart(terminal: Terminal) -> None:
    blind = condition("ScalingActive", "False", "NoSeries", "Prometheus has no series of its pods")
    service(terminal, [*READY, blind], a_pod("chat-0").ready())
    done = explain(terminal)
    assert done.status == 0
    assert "Other             NoSeries: Prometheus has no series of its pods" in done.out
    service(
        terminal, [*NOT_READY, blind], findings=[NO_DEVICES, {**NO_DEVICES, "reason": "NoSeries", "message": "none"}]
    )
    out = explain(terminal).out
    assert "Why               NoFreeDevices (certain)" in out
    assert "Other             NoSeries (certain): none" in out


def test_a_model_that_does_not_fit_stands_apart_unless_that_is_why(terminal: Terminal) -> None:
    fits = condition("Fits", "False", "DoesNotFit", "weights of 130 GiB on GPUs of 80 GiB")
    service(terminal, [*READY, fits], a_pod("chat-0").ready())
    assert "Other             DoesNotFit: weights" in explain(terminal).out
    service(terminal, [condition("Ready", "False", "DoesNotFit", fits["message"]), fits])
    out = explain(terminal).out
    assert "Why               DoesNotFit: weights" in out and "Other" not in out
    service(terminal, [*READY, condition("Fits", "True", "Fits", "41 requests of 8192 tokens at once")])
    assert "Memory            41 requests of 8192 tokens at once" in explain(terminal).out


@pytest.mark.parametrize(("placeable", "shown"), [(3, True), (8, False)])
def test_room_is_told_where_it_is_less_than_the_autoscaler_may_ask_for(
    terminal: Terminal, placeable: int, shown: bool
) -> None:
    room = {"replicas": placeable, "limitedBy": "Nodes", "message": "gpu-0 has room for 3 more"}
    service(terminal, READY, a_pod("chat-0").ready(), placeableReplicas=room)
    assert ("Capacity          for 3 of 8 replicas: gpu-0 has room" in explain(terminal).out) == shown


def test_without_findings_the_conditions_tell_once(terminal: Terminal) -> None:
    service(terminal, [*NOT_READY, condition("RolledOut", "False", "Updating", "1 of 2 replaced")])
    out = explain(terminal).out
    assert out.count("can't be scheduled") == 1
    assert "Other             Updating: 1 of 2 replaced" in out


def test_an_operator_that_does_not_run_is_named(terminal: Terminal) -> None:
    service(terminal, READY, a_pod("chat-0").ready())
    assert terminal.api.around is not None
    lease = {"metadata": {"name": "llmservice-operator", "namespace": "llmservice-system"}}
    terminal.api.around["leases"] = [{**lease, "spec": {"holderIdentity": "a", "renewTime": at(10_000)}}]
    assert (
        "Operator The operator is not running: its Lease llmservice-operator in namespace llmservice-system was last "
        "renewed 2 h ago. The following is from that time."
    ) in flat(explain(terminal))
    terminal.api.around["leases"] = [{**lease, "spec": {"holderIdentity": "a", "renewTime": at(5)}}]
    assert "Operator" not in explain(terminal).out


def test_a_spec_that_nobody_has_taken_up_is_not_ready_whatever_the_status_says(terminal: Terminal) -> None:
    service(terminal, READY, a_pod("chat-0").ready(), observedGeneration=2)
    changed = [{"manager": "kubectl", "time": at(600)}, {"manager": "x", "subresource": "status", "time": at(1)}]
    terminal.api.objects["LLMService", "team-a", "chat"]["metadata"]["managedFields"] = changed
    done = explain(terminal)
    assert done.status == 2
    assert done.out.startswith("chat in team-a: was Ready with an earlier spec\n")
    assert "the status has generation 2, the spec has 3." in flat(done)


def test_a_service_that_no_operator_has_seen(terminal: Terminal) -> None:
    service(terminal, [])
    done = explain(terminal)
    assert done.status == 2
    assert "No operator has reconciled this service for 2 h." in done.out


def test_what_may_not_be_read_is_said_in_a_line_and_the_rest_is_told(terminal: Terminal) -> None:
    service(terminal, NOT_READY, findings=[NO_DEVICES])
    denied = refusal(403, "forbidden", "Forbidden")
    terminal.api.around = dict.fromkeys(("pods", "events", "leases", "resourcequotas"), denied)
    terminal.api.around["horizontalpodautoscalers"] = refusal(500, "etcd is away")
    done = explain(terminal)
    assert done.status == 2
    assert "Fix: Free GPUs" in done.out
    assert "Unreadable Events, Leases of the operator, pods, quotas (you lack the permission)" in flat(done)
    assert "the autoscaler: the API server did not get" in done.out


def test_the_service_itself_has_to_be_readable(terminal: Terminal) -> None:
    terminal.api.around = {}
    done = explain(terminal, "nosuch")
    assert (done.status, done.out) == (1, "")
    assert "there is no LLMService nosuch in namespace team-a" in done.err


def test_the_last_lines_of_an_engine_that_left_no_words(terminal: Terminal) -> None:
    silent = a_pod("chat-0").waiting("CrashLoopBackOff").ended_before(1)
    reported = a_pod("chat-1").waiting("CrashLoopBackOff").ended_before(1, message="no GPU")
    service(terminal, NOT_READY, silent, reported)
    terminal.api.texts["pods/chat-0/log"] = lambda: "loading\n\x1b[31mValueError: no\x1b[0m\n"
    out = explain(terminal).out
    assert (
        "Log               last lines of chat-0 before it ended:\n"
        "                  | loading\n                  | ?[31mValueError: no" in out
    )
    assert "chat-0   CrashLoopBackOff   on gpu-0" in out and "1 restart" in out
    assert terminal.api.calls.count("get Pod/log chat-0") == 1


def test_warnings_that_say_something_new(terminal: Terminal) -> None:
    service(terminal, NOT_READY, a_pod("chat-1").unschedulable(), findings=[NO_DEVICES])

    def event(
        message: str, kind: str = "Warning", of: str = "chat-1", ago: float = 60, reason: str = "Happened"
    ) -> dict[str, Any]:
        return {
            "metadata": {"name": message[:5], "namespace": "team-a"},
            "involvedObject": {"kind": "Pod", "name": of},
            "type": kind,
            "reason": reason,
            "message": message,
            "lastTimestamp": at(ago),
        }

    assert terminal.api.around is not None
    terminal.api.around["events"] = [
        event("older", ago=600),
        event("newer"),
        event("newer", ago=90),
        event("all is well", kind="Normal"),
        event("of another", of="other-0"),
        event("0/4 nodes are available, in whatever words", reason="FailedScheduling"),
    ]
    lines = explain(terminal).out.split("Events            ")[1].splitlines()
    assert lines == [
        "60 s ago, pod chat-1: Happened: newer",
        "                  10 min ago, pod chat-1: Happened: older",
    ]


def test_quotas_that_are_full_and_the_nodes_that_have_the_device(terminal: Terminal) -> None:
    service(terminal, NOT_READY, a_pod("chat-1").asking_for(2).unschedulable(), findings=[NO_DEVICES])
    hard, used = {"requests.nvidia.com/gpu": "8", "pods": "10", "memory": "1Ti"}, {"requests.nvidia.com/gpu": "8"}
    used |= {"pods": "3", "memory": "1024Gi"}
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}

    def node(name: str, product: str, cordoned: bool = False) -> dict[str, Any]:
        labels = {"nvidia.com/gpu.product": product}
        status = {"allocatable": {"nvidia.com/gpu": "8"}, **ready}
        return {"metadata": {"name": name, "labels": labels}, "spec": {"unschedulable": cordoned}, "status": status}

    assert terminal.api.around is not None
    terminal.api.around["resourcequotas"] = [{"metadata": {"name": "team"}, "status": {"hard": hard, "used": used}}]
    plain = {"metadata": {"name": "cpu-0"}, "spec": {}, "status": {"allocatable": {"cpu": "8"}, **ready}}
    terminal.api.around["nodes"] = [node("a", "H100"), node("b", "H100", cordoned=True), node("c", "A10"), plain]
    out = explain(terminal).out
    assert "Quota             team is full: memory 1024Gi of 1Ti, requests.nvidia.com/gpu 8 of 8\n" in out
    assert "Nodes             3 of 4 have nvidia.com/gpu, free or not: 16 x H100, 8 x A10; 1 cordoned\n" in out


def test_it_fits_one_screen_and_says_what_it_left_out(terminal: Terminal) -> None:
    many = [{**NO_DEVICES, "message": f"{number} " + "word " * 300, "fix": "do " * 200} for number in range(8)]
    pods = [a_pod(f"chat-{number}").waiting("CrashLoopBackOff") for number in range(100)]
    service(terminal, NOT_READY, *pods, findings=many)
    lines = explain(terminal).out.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 100
    assert "more lines: -o json has all" in lines[-1]
    assert len(explain(terminal, "chat -o json").json["pods"]) == 100


def test_json_has_all_of_it(terminal: Terminal) -> None:
    service(terminal, NOT_READY, a_pod("chat-1").unschedulable(), findings=[NO_DEVICES], cost=COST)
    done = explain(terminal, "chat -o json")
    assert done.status == 2
    assert done.json["ready"] is False
    assert done.json["findings"] == [NO_DEVICES]
    assert done.json["pods"][0]["name"] == "chat-1"


@pytest.mark.parametrize("line", ["", "chat more", "chat -o yaml", "Chat"])
def test_lines_that_make_no_sense(terminal: Terminal, line: str) -> None:
    with pytest.raises(SystemExit) as left:
        explain(terminal, line)
    assert left.value.code == 1, "2 is a service that is not Ready"


def test_a_lease_of_the_far_future_does_not_hide_that_the_operator_is_gone() -> None:
    now = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    service = {"metadata": {"namespace": "team-b", "name": "x", "generation": 1}, "status": {"observedGeneration": 1}}

    def lease(namespace: str, renewed: str) -> dict[str, Any]:
        meta = {"name": "llmservice-operator", "namespace": namespace}
        return {"metadata": meta, "spec": {"holderIdentity": "a", "renewTime": renewed}}

    real, forged = lease("llmservice-system", "2026-01-01T00:00:00Z"), lease("team-a", "2099-01-01T00:00:00Z")
    assert "is not running" in operator_health.warning(service, [real, forged], now)
    assert "is not running" not in operator_health.warning(
        service, [lease("llmservice-system", "2026-01-02T00:00:30Z")], now
    )
