"""The demo's last part: without requests there is no replica; then one request starts one, and is answered."""

import json
import time
import urllib.request

from asking import forwarded, request, text_of
from kube import kubectl
from progress import Step, wait_until

NAME = "chat"
GATEWAY = "llmservice-operator-gateway"
IDLE_SECONDS = 240
"""How long the last replica may take to go."""
PAUSE_SECONDS = 0.5
START_SECONDS = 600
"""How long the request waits for its replica; the gateway's own limit."""
PODS = f"app.kubernetes.io/name=llmservice,app.kubernetes.io/instance={NAME}"
LIST = ("get", "llms,pods", "-l", "!batch.kubernetes.io/job-name")
TO_ZERO = json.dumps({"spec": {"scaling": {"minReplicas": 0}}})


def allow(namespace: str) -> None:
    """From now on the service may have no replica."""
    kubectl("patch", "llms", NAME, "-n", namespace, "--type=merge", "-p", TO_ZERO)
    print(f"\n$ kubectl patch llms {NAME} -n {namespace} --type=merge -p '{TO_ZERO}'")


def answer(namespace: str, operator_namespace: str, number: int, total: int) -> None:
    """Send one request to the service at zero, as step ``number``. Raises StepFailed without an answer."""
    with Step(number, total, "From no replica to an answer", "the last pod to end") as step:
        wait_until(step, IDLE_SECONDS, lambda: pods_left(namespace), PAUSE_SECONDS)
        asleep = kubectl(*LIST, "-n", namespace)
        with forwarded(operator_namespace, GATEWAY) as port:
            step.waiting_for = "one request, which waits for its replica"
            asked, began = request(port, max_tokens=24), time.monotonic()
            with urllib.request.urlopen(asked, timeout=START_SECONDS) as response:
                found = json.load(response)
            seconds = time.monotonic() - began
    listed = f"\n$ kubectl {' '.join(LIST)} -n {namespace}"
    print(f"{listed}\n{asleep}")
    print(f"$ curl -s http://{GATEWAY}.{operator_namespace}/v1/completions -d '{text_of(asked)}'")
    print(json.dumps(found, indent=2))
    print(f"\nThe request started a replica, waited for it, and was answered after {seconds:.0f} s.")
    print(f"{listed}\n{kubectl(*LIST, '-n', namespace)}")


def pods_left(namespace: str) -> str | None:
    """None once the service has no pod, else what is waited for."""
    pods = kubectl("get", "pods", "-n", namespace, "-l", PODS, "-o", "name").split()
    return f"{len(pods)} pod(s) to end" if pods else None
