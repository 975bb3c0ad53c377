"""The demo: from nothing to a Ready LLMService on real vLLM, with the answers and the output that a user sees.

On a cluster of the user's own (KUBECONFIG) it makes one namespace, installs the chart, and touches no node.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cluster
from cluster import ROOT, Images
from kube import KubectlFailed, get, kubectl
from progress import Step, StepFailed, run_logged, wait_until

HERE = Path(__file__).parent
NAMESPACE = "demo"
OPERATOR_NAMESPACE = "llmservice-system"
LOG = Path(os.environ.get("LLMSERVICE_CACHE", Path.home() / ".cache/llmservice")) / "demo.log"
SKIPPED = 3 if cluster.IS_OWN else 0
STEPS = 6 - SKIPPED
"""Steps that are shown; on a cluster of the user's own the first three are not taken."""
PROMPT = "The above copyright notice and this permission notice shall be"


def main() -> int:
    """Tell the whole story; 0 where it came to its end."""
    began = time.monotonic()
    LOG.parent.mkdir(parents=True, exist_ok=True)
    LOG.write_text("")
    try:
        images = prepare()
        first_token = serve(images)
        show()
    except (StepFailed, KubectlFailed) as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    print(f"\nFrom `kubectl apply` to the first token: {first_token:.1f} s. The whole demo: {clock(began)}.")
    print_next()
    return 0


def prepare() -> Images:
    """A cluster that has the images. Returns their names."""
    if cluster.IS_OWN:
        images = cluster.own_images()
        print(f"The demo runs on the cluster of KUBECONFIG={os.environ['KUBECONFIG']}; no node is touched.")
        return images
    print("The demo starts a one-node Kubernetes on this machine. The first time builds it; later it is cached.")
    print(f"All output of the long steps: {LOG}\n")
    for number, title, script in (
        (1, "Debian packages and the cluster's programs", "hack/cluster/install-tools"),
        (2, "Kubernetes", "hack/cluster/up"),
        (3, "Images of operator and runtime", "hack/cluster/images/build"),
    ):
        with Step(number, STEPS, title, "starting") as step:
            cluster.start_local(step, LOG, script)
    os.environ["KUBECONFIG"] = cluster.local_kubeconfig()
    return cluster.LOCAL_IMAGES


def serve(images: Images) -> float:
    """Model, operator and service. Returns seconds from apply to the first token."""
    with Step(4 - SKIPPED, STEPS, "Operator, by helm", "the Deployment, by helm --wait") as step:
        chart = str(ROOT / "charts/llmservice-operator")
        values = [part for value in images.helm_values() for part in ("--set-string", value)]
        helm = ["helm", "upgrade", "--install", "llmservice-operator", chart, "--namespace", OPERATOR_NAMESPACE]
        run_logged(step, LOG, [*helm, "--create-namespace", "--take-ownership", "--wait", "--timeout", "5m", *values])
    with Step(5 - SKIPPED, STEPS, "A small model on a volume", "the namespace") as step:
        make_model(step, images)
    with Step(6 - SKIPPED, STEPS, "LLMService chat", "kubectl apply") as step:
        kubectl("apply", "-n", NAMESPACE, "-f", str(HERE / "chat.yaml"))
        wait_until(step, 900, ready_or_why)
        with service_port() as port:
            first_token = first_token_seconds(port, step)
    print("\n$ cat hack/demo/chat.yaml\n" + (HERE / "chat.yaml").read_text())
    return first_token


def make_model(step: Step, images: Images) -> None:
    """Make the model by a Job in the namespace of the service, unless it lies there from an earlier run."""
    if get("namespace", NAMESPACE) is None:
        kubectl("create", "namespace", NAMESPACE)
    kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted", "--overwrite")
    script = kubectl(
        "create", "configmap", "make-model", "-n", NAMESPACE, "--dry-run=client", "-o", "yaml",
        f"--from-file=make_tiny.py={ROOT / 'hack/models/make_tiny.py'}",
    )  # fmt: skip
    kubectl("apply", "-n", NAMESPACE, "-f", "-", input=script)
    manifest = (HERE / "model.yaml").read_text().replace("RUNTIME_IMAGE", images.runtime_cpu)
    kubectl("apply", "-n", NAMESPACE, "-f", "-", input=manifest)
    wait_until(step, 600, model_made)


def model_made() -> str | None:
    """None once the job is done, else what is waited for."""
    job = get("job", "make-model", "-n", NAMESPACE) or {}
    status = job.get("status", {})
    if status.get("succeeded"):
        return None
    if status.get("failed"):
        words = kubectl("logs", "-n", NAMESPACE, "job/make-model", "--tail=5", check=False)
        raise StepFailed(f"the job that makes the model failed:\n{words}")
    return "the job make-model"


def ready_or_why() -> str | None:
    """None once the service is Ready, else the operator's own words."""
    service = get("llmservice", "chat", "-n", NAMESPACE) or {}
    for condition in service.get("status", {}).get("conditions", []):
        if condition["type"] == "Ready":
            current = condition.get("observedGeneration") == service["metadata"]["generation"]
            if condition["status"] == "True" and current:
                return None
            return f"{condition['reason']}: {condition['message']}"
    return "the operator's first look"


@contextmanager
def service_port() -> Iterator[int]:
    """A local port that leads to the service, by kubectl port-forward."""
    command = ["kubectl", "port-forward", "-n", NAMESPACE, "service/chat", ":80"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as forward:
        assert forward.stdout is not None
        try:
            line = forward.stdout.readline()
            if "->" not in line:
                raise StepFailed(f"`{' '.join(command)}` ended without a port")
            yield int(line.split("->")[0].rsplit(":", 1)[1])
        finally:
            forward.terminate()


def request(port: int, **body: object) -> urllib.request.Request:
    """A request to /v1/completions of the service."""
    data = json.dumps({"model": "chat", "prompt": PROMPT, **body}).encode()
    url = f"http://127.0.0.1:{port}/v1/completions"
    return urllib.request.Request(url, data, {"Content-Type": "application/json"})


def first_token_seconds(port: int, step: Step) -> float:
    """Seconds since the step began (with apply) until one token came back."""
    with urllib.request.urlopen(request(port, max_tokens=1), timeout=120) as answer:
        answer.read()
    return step.seconds


def show() -> None:
    """A completion, a stream, and what kubectl tells."""
    with service_port() as port:
        print("$ curl -s http://chat.demo/v1/completions -d " + f"'{request(port, max_tokens=24).data.decode()}'")  # type: ignore[union-attr]
        with urllib.request.urlopen(request(port, max_tokens=24), timeout=120) as answer:
            print(json.dumps(json.load(answer), indent=2))
        print('\n$ the same with "stream": true, each token as it comes')
        with urllib.request.urlopen(request(port, max_tokens=24, stream=True), timeout=120) as answer:
            for line in answer:
                text = line.decode().strip().removeprefix("data: ")
                if text and text != "[DONE]":
                    print(json.loads(text)["choices"][0]["text"], end="|", flush=True)
        print()
    for command in (
        ["get", "llms", "-n", NAMESPACE],
        ["get", "statefulset,pod,service,poddisruptionbudget", "-n", NAMESPACE],
        ["describe", "llms", "chat", "-n", NAMESPACE],
    ):
        print(f"\n$ kubectl {' '.join(command)}\n{kubectl(*command)}", end="")


def print_next() -> None:
    """What to type next."""
    print("\nWhat to type next:")
    local = (("eval $(hack/cluster/env)", "kubectl and helm of this cluster in your shell"),)
    down = (("make cluster-down", "the cluster goes and leaves nothing behind"),)
    common = (
        ("kubectl scale llms/chat -n demo --replicas=2", "a second replica"),
        ("kubectl explain llms.spec", "every field of the resource"),
        ("kubectl delete llms/chat -n demo", "everything of it goes"),
    )
    for command, meaning in common if cluster.IS_OWN else (*local, *common, *down):
        print(f"  {command:<50} # {meaning}")


def clock(began: float) -> str:
    """Minutes and seconds since ``began``."""
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    return f"{minutes} min {seconds} s"


if __name__ == "__main__":
    sys.exit(main())
