#!/usr/bin/env python3
"""Time from `kubectl apply` to the first token: an LLMService compared with the same vLLM started manually.

The pod started manually is the service's pod without the launcher: it has the same image, environment, resources and
volumes, and its command is the `vllm serve` line that the launcher would run. Both are measured in turns, so that other
load on the machine affects both. Needs the operator and the model of `make demo`.

    hack/bench/first_token.py --json FILE      {"service_s", "bare_s", "difference_s"} as medians, and each run
"""

import argparse
import json
import statistics
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kube import apply, get, kubectl

NAMESPACE = "demo"
NAME = "first-token"
LIMIT_SECONDS = 600.0


def main() -> int:
    """Run the pairs, print and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the result")
    parser.add_argument("--pairs", type=int, default=3, help="how often each is timed (3)")
    options = parser.parse_args()
    remove()
    serve_once()
    pod, command = bare_pod()
    remove()
    service, bare = [], []
    for pair in range(options.pairs):
        bare.append(time_bare(pod))
        service.append(time_service())
        print(f"pair {pair + 1}: service {service[-1]:.1f} s, by hand {bare[-1]:.1f} s", flush=True)
    result = {
        "service_s": round(statistics.median(service), 2),
        "bare_s": round(statistics.median(bare), 2),
        "difference_s": round(statistics.median(s - b for s, b in zip(service, bare, strict=True)), 2),
        "service_runs_s": [round(s, 2) for s in service],
        "bare_runs_s": [round(b, 2) for b in bare],
        "bare_command": command,
    }
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def manifest() -> dict[str, Any]:
    """The service that is timed."""
    spec = {"model": {"source": "pvc://models/tiny"}, "accelerator": {"type": "cpu"}}
    return {"apiVersion": "llmservice.dev/v1alpha1", "kind": "LLMService", "metadata": {"name": NAME}, "spec": spec}


def serve_once() -> None:
    """Serve once and leave it running: files are in the page cache for all, and its pod is the pattern by hand."""
    time_service(keep=True)


def bare_pod() -> tuple[dict[str, Any], list[str]]:
    """The running service's pod without its launcher, and the command that it runs instead."""
    sets = get("statefulset", NAME, "-n", NAMESPACE)
    if sets is None:
        raise SystemExit(f"the StatefulSet {NAME} is gone: was the service deleted meanwhile?")
    spec = sets["spec"]["template"]["spec"]
    container = spec["containers"][0]
    printed = kubectl(
        "exec", "-n", NAMESPACE, f"{NAME}-0", "--", "python", "-m", "llmservice_runtime", "print", "--json"
    )
    started = json.loads(printed)
    config = get("configmap", container["envFrom"][0]["configMapRef"]["name"], "-n", NAMESPACE) or {}
    environment = {**config.get("data", {}), **started["environment"]}
    kept = {k: v for k, v in container.items() if k not in ("envFrom", "env", "args", "command")}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        kept.pop(probe, None)
    kept["command"] = started["command"]
    kept["env"] = [*container.get("env", []), *({"name": k, "value": v} for k, v in environment.items())]
    body = {**spec, "containers": [kept], "restartPolicy": "Never"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"{NAME}-bare"}, "spec": body}
    return pod, started["command"]


def time_service(keep: bool = False) -> float:
    """Seconds from apply of the LLMService to its first token through its Service."""
    began = time.monotonic()
    apply(NAMESPACE, manifest())
    address = wait_for("service", NAME, began, lambda service: service["spec"].get("clusterIP"))
    took = first_token(f"http://{address}:80", began)
    if not keep:
        remove()
    return took


def time_bare(pod: dict[str, Any]) -> float:
    """Seconds from apply of the pod by hand to its first token at the pod's own address."""
    began = time.monotonic()
    apply(NAMESPACE, pod)
    address = wait_for("pod", pod["metadata"]["name"], began, lambda seen: seen.get("status", {}).get("podIP"))
    took = first_token(f"http://{address}:8000", began)
    remove()
    return took


def wait_for(kind: str, name: str, began: float, pick: Any) -> str:
    """What ``pick`` finds in the object, once it is there."""
    while time.monotonic() - began < LIMIT_SECONDS:
        seen = get(kind, name, "-n", NAMESPACE)
        if seen and (found := pick(seen)):
            return str(found)
        time.sleep(0.1)
    raise SystemExit(f"{kind} {name} has no address after {LIMIT_SECONDS:.0f} s")


def first_token(url: str, began: float) -> float:
    """Ask for one token until it comes; seconds since ``began``."""
    body = json.dumps({"model": NAME, "prompt": "The", "max_tokens": 1}).encode()
    while time.monotonic() - began < LIMIT_SECONDS:
        request = urllib.request.Request(f"{url}/v1/completions", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read()
            return time.monotonic() - began
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.05)
    raise SystemExit(f"no token from {url} after {LIMIT_SECONDS:.0f} s")


def remove() -> None:
    """Delete what was timed and wait until its pods are gone."""
    kubectl("delete", "-n", NAMESPACE, f"llmservice/{NAME}", f"pod/{NAME}-bare", "--ignore-not-found")
    selector = f"app.kubernetes.io/instance={NAME}"
    kubectl("wait", "-n", NAMESPACE, "--for=delete", "pod", "-l", selector, "--timeout=120s")
    kubectl("wait", "-n", NAMESPACE, "--for=delete", f"pod/{NAME}-bare", "--timeout=120s")


if __name__ == "__main__":
    sys.exit(main())
