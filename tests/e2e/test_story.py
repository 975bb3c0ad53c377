"""The life of a service on the real node: put right, asked, streamed, changed, and deleted without a trace.

One model load takes half a minute or more, so each test carries one service through several things that a user does.
"""

import json
import subprocess
import sys
from typing import Any

import pytest

from builders.services import ServiceBuilder, a_service
from support.cluster import wait_until
from support.gpu_holder import HOLDER, hold_gpus, real_node
from support.serving import KINDS, Serving

pytestmark = [pytest.mark.usefixtures("dump_on_failure"), pytest.mark.timeout(900)]

QUESTION = {"prompt": "The above copyright notice", "max_tokens": 24, "temperature": 0}


def tiny(name: str) -> ServiceBuilder:
    """A service of the small model on the CPU."""
    return a_service(name).from_source("pvc://models/tiny").on_cpu()


def test_wrong_path_put_right_then_asked_changed_and_deleted(serving: Serving) -> None:
    serving.apply(tiny("chat").from_source("pvc://models/tyni").build())
    crashed = serving.wait_for("chat", "Serving", "False", "ModelUnreadable")
    assert "/models/tyni" in crashed["message"], crashed["message"]
    assert "tiny" in crashed["message"], "the names that are there help to find the typing mistake"

    serving.apply(tiny("chat").build())
    serving.wait_for("chat", "Ready", "True")
    answer = serving.post("chat", QUESTION)
    assert answer["model"] == "chat"
    assert answer["usage"]["completion_tokens"] == 24

    pieces = list(serving.stream("chat", QUESTION))
    assert "".join(text for _, text in pieces) == answer["choices"][0]["text"]
    assert len({when for when, _ in pieces}) > 10, "tokens come one by one, not all at the end"

    shown = top_while_asked(serving, "chat")
    assert shown["requestsPerSecond"] > 0 and shown["generatedTokensPerSecond"] > 0, shown
    assert 0 < shown["timeToFirstToken"]["p50"] <= shown["timeToFirstToken"]["p99"]
    assert shown["kvCacheUsage"] is not None and shown["cost"] is None, "no price is known"

    (before,) = serving.pods("chat")
    serving.apply(tiny("chat").spread_over(tensor=3).build())
    refused = serving.wait_for("chat", "Accepted", "False")
    assert "4" in refused["message"] and "3" in refused["message"], refused["message"]
    (still,) = serving.pods("chat")
    assert still["metadata"]["uid"] == before["metadata"]["uid"], "what runs goes on"
    assert serving.post("chat", QUESTION)["choices"] == answer["choices"]

    serving.apply(tiny("chat").with_spec(model={"maxContextLength": 64}).build())
    serving.wait_for("chat", "Ready", "True")
    wait_until(lambda: len(serving.pods("chat")) == 1, "the replica that ran meanwhile is gone", timeout=120)
    (after,) = serving.pods("chat")
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    address = after["status"]["podIP"]
    listed = serving.post("chat", {"prompt": "The", "max_tokens": 1})
    assert listed["usage"]["completion_tokens"] == 1
    with pytest.raises(OSError, match="400"):
        serving.post("chat", {"prompt": "The", "max_tokens": 100})

    serving.delete("LLMService", "chat")
    wait_until(lambda: not leftovers(serving, "chat"), "everything of the service is gone", timeout=120)
    assert serving.is_refused(address, 8000)


@pytest.mark.campaign
def test_no_free_gpu_then_one_is_freed_and_two_ranks_give_the_tokens_of_one(serving: Serving) -> None:
    node, gpus = real_node(serving)
    hold_gpus(serving, gpus - 1)

    service = (
        a_service("wide").from_source("pvc://models/tiny").spread_over(tensor=2).with_spec(resources={"cpu": "300m"})
    )
    serving.apply(service.build())
    waiting = serving.wait_for("wide", "Scheduled", "False", "NoFreeDevices")
    for word in ("2", "nvidia.com/gpu", node, f"1 of {gpus}"):
        assert word in waiting["message"], (word, waiting["message"])
    ready = serving.condition("wide", "Ready")
    assert ready is not None and ready["reason"] == "NoFreeDevices"

    serving.delete("Pod", HOLDER)
    serving.wait_for("wide", "Ready", "True")
    (pod,) = serving.pods("wide")
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"
    two_ranks = serving.post("wide", QUESTION)["choices"][0]["text"]

    serving.apply(service.spread_over(tensor=1).build())
    serving.wait_for("wide", "Ready", "True")
    assert serving.post("wide", QUESTION)["choices"][0]["text"] == two_ranks
    serving.delete("LLMService", "wide")
    wait_until(lambda: not leftovers(serving, "wide"), "everything of the service is gone", timeout=120)


def top_while_asked(serving: Serving, service: str) -> dict[str, Any]:
    """What `kubectl llm top` tells of a service, through the API server, while it is asked again and again."""
    command = [sys.executable, "-m", "llmservice_operator.cli", "top", service, "-n", serving.namespace]
    command += ["--kubeconfig", str(serving.cluster.kubeconfig), "--interval", "3", "-o", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as looking:
        while looking.poll() is None:
            serving.post(service, QUESTION)
        assert looking.stdout is not None and looking.returncode == 0
        (row,) = json.loads(looking.stdout.read())["items"]
    return dict(row)


def leftovers(serving: Serving, service: str) -> list[str]:
    """What is left of a service, the service included."""
    selector = f"app.kubernetes.io/instance={service}"
    found = [f"{kind} {obj['metadata']['name']}" for kind in KINDS for obj in serving.list(kind, selector)]
    return found + ([f"LLMService {service}"] if serving.get("LLMService", service) else [])
