"""The demo: from nothing to a Ready LLMService on real vLLM that follows its load, with the output that a user sees.

On the user's own cluster (KUBECONFIG) it creates one namespace, installs the chart, and changes no node.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cluster
import scaling
import zero
from asking import one_token, service_port, show_answers
from cluster import ROOT, Images
from kube import KubectlFailed, get, kubectl
from progress import Step, StepFailed, run_logged, wait_until

HERE = Path(__file__).parent
NAMESPACE = "demo"
OPERATOR_NAMESPACE = "llmservice-system"
LOG = Path(os.environ.get("LLMSERVICE_CACHE", Path.home() / ".cache/llmservice")) / "demo.log"
SKIPPED = 3 if cluster.IS_OWN else 0


def steps(images: Images) -> int:
    """Steps that are shown: on a cluster of the user's own not the first three, without a Prometheus not the last two,
    without a gateway not the last."""
    return 6 + (bool(cluster.PROMETHEUS_URL) + bool(images.gateway and cluster.PROMETHEUS_URL)) - SKIPPED


def main() -> int:
    """Tell the whole story; 0 if it came to its end."""
    began = time.monotonic()
    LOG.parent.mkdir(parents=True, exist_ok=True)
    LOG.write_text("")
    try:
        images = prepare()
        first_token = serve(images)
        show()
        total = steps(images)
        if cluster.PROMETHEUS_URL and images.gateway:
            scaling.scale(images, NAMESPACE, total - 1, total, lambda: zero.allow(NAMESPACE))
            zero.answer(NAMESPACE, OPERATOR_NAMESPACE, total, total)
        elif cluster.PROMETHEUS_URL:
            scaling.scale(images, NAMESPACE, total, total)
            print("\nScaling from zero is left out: GATEWAY_IMAGE names no image of the gateway.")
        else:
            print("\nScaling on latency is left out: PROMETHEUS_URL=http://... names no Prometheus of this cluster.")
    except (StepFailed, KubectlFailed) as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Requests of the demo have ended; what it installed is still there.", file=sys.stderr)
        return 130
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
    total = steps(cluster.LOCAL_IMAGES)
    with Step(1, total, "Debian packages and the cluster's programs", "starting") as step:
        cluster.start_local(step, LOG, "hack/cluster/install-tools", "packages")
        # Images are mostly fetched, programs compiled: both take less time side by side.
        with cluster.images_ahead(LOG.with_name("demo-images.log")):
            cluster.start_local(step, LOG, "hack/cluster/install-tools", "cluster")
            step.waiting_for = "the images of operator, runtime and gateway"
    with Step(2, total, "Kubernetes", "starting") as step:
        cluster.start_local(step, LOG, "hack/cluster/up")
    with Step(3, total, "Images of operator, runtime and gateway", "starting") as step:
        cluster.start_local(step, LOG, "hack/cluster/images/build", *cluster.BUILT)
    os.environ["KUBECONFIG"] = cluster.local_kubeconfig()
    return cluster.LOCAL_IMAGES


def serve(images: Images) -> float:
    """Model, operator and service. Returns seconds from apply to the first token."""
    total = steps(images)
    with Step(4 - SKIPPED, total, "Operator, by helm", "the Deployment, by helm --wait") as step:
        make_model(images)  # while the operator starts
        chart = str(ROOT / "charts/llmservice-operator")
        values = [*images.helm_values(), *cluster.scaling_values(), *cluster.gateway_values(images, NAMESPACE)]
        helm = ["helm", "upgrade", "--install", "llmservice-operator", chart, "--namespace", OPERATOR_NAMESPACE]
        run_logged(step, LOG, [*helm, "--create-namespace", "--take-ownership", "--wait", "--timeout", "5m", *values])
    with Step(5 - SKIPPED, total, "A small model on a volume", "the job make-model") as step:
        wait_until(step, 600, model_made)
    with Step(6 - SKIPPED, total, "LLMService chat", "kubectl apply") as step:
        kubectl("apply", "-n", NAMESPACE, "-f", str(HERE / "chat.yaml"))
        wait_until(step, 900, ready_or_why)
        with service_port(NAMESPACE) as port:
            one_token(port)
        first_token = step.seconds
    print("\n$ cat hack/demo/chat.yaml\n" + (HERE / "chat.yaml").read_text())
    return first_token


def make_model(images: Images) -> None:
    """Begin to make the model, by a Job in the namespace of the service, unless it is there from an earlier run."""
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


def show() -> None:
    """A completion, a stream, and what kubectl tells."""
    with service_port(NAMESPACE) as port:
        show_answers(port)
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
        ("kubectl get hpa,llms -n demo --watch", "what scales, as it happens"),
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
