"""The demo's second half: a load lifts the latency above its target, a second replica comes, the load ends, it goes.

Everything shown is read as a user reads it: from the metrics API, the autoscaler and the service. The load ends by
itself, when the story is told, when the demo is interrupted, and at its limit even if the demo is killed.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

import plot
from cluster import ROOT, Images
from kube import kubectl
from progress import Step, StepFailed, wait_until
from samples import Sample, look, quantity, scaling_active

HERE = Path(__file__).parent
NAME = "chat"
PICTURE = Path("build/demo-scaling.png")
IN_FLIGHT = 48
LOAD_SECONDS = 600
"""Limit of the load."""
CALM_SECONDS = 180
"""How long the way back may take, beside what the load took."""
SHARED_SECONDS = 50
"""How long two replicas share the load, so that the picture shows what it does to the latency."""
EVERY_SECONDS = 2.0
QUIET_SECONDS = 10.0
"""Seconds between two lines where the output is no terminal."""
HIDDEN = ("Namespace", "Labels", "Annotations", "CreationTimestamp", "Behavior")
"""Parts of `kubectl describe hpa` that say nothing new here."""
SELECTOR = re.compile(r"[(/]&LabelSelector\{MatchLabels:[^{]*\{[^}]*\},MatchExpressions:[^{]*\{[^}]*\},\}\)?")
"""The metric's selector in the autoscaler's own notation, which repeats the service's name."""


class Story:
    """The looks so far, drawn while they come."""

    def __init__(self, namespace: str, target: float) -> None:
        self.samples: list[Sample] = []
        self.namespace = namespace
        self.target = target
        self.loaded = False
        self._began = time.monotonic()
        self._said = -QUIET_SECONDS

    def watch(self, title: str, limit: float, done: Callable[[Sample], bool]) -> None:
        """Look and draw until ``done``. Raises StepFailed with the service's own words after ``limit`` seconds."""
        console = Console()
        print(f"\n{title}", flush=True)
        deadline = time.monotonic() + limit
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while True:
                began = time.monotonic()
                sample = look(self.namespace, NAME, began - self._began, self.loaded)
                self.samples.append(sample)
                if console.is_terminal:
                    words = Text(plot.line(sample, self.target), overflow="ellipsis", no_wrap=True)
                    drawing = plot.chart(self.samples, self.target, console.width - 10)
                    live.update(Group(drawing, words), refresh=True)
                elif began - self._said >= QUIET_SECONDS:
                    self._said = began
                    print(plot.line(sample, self.target), flush=True)
                if done(sample):
                    break
                if began > deadline:
                    raise StepFailed(
                        f"not within {limit:.0f} s. The service says: {sample.active[1]}\n"
                        f"`kubectl describe hpa {NAME} -n {self.namespace}` says:\n{description(self.namespace)}"
                    )
                time.sleep(max(0.1, began + EVERY_SECONDS - time.monotonic()))
        print(plot.line(self.samples[-1], self.target), flush=True)


def scale(images: Images, namespace: str, number: int, total: int) -> None:
    """Tell the story, as step ``number``. Raises StepFailed where it does not come to its end."""
    with Step(number, total, "Scaling on latency", "kubectl apply") as step:
        kubectl("apply", "-n", namespace, "-f", str(HERE / "chat-scaled.yaml"))
        wait_until(step, 120, lambda: scaled_or_why(namespace))
    print("\n$ kubectl apply -f hack/demo/chat-scaled.yaml\n" + (HERE / "chat-scaled.yaml").read_text())
    story = Story(namespace, target_seconds())
    with load(images, namespace):
        story.loaded = True
        limit = LOAD_SECONDS - SHARED_SECONDS
        story.watch(f"{IN_FLIGHT} requests every 4 s, until a second replica answers", limit, lambda s: s.ready == 2)
        shared = story.samples[-1].second + SHARED_SECONDS
        story.watch("Two replicas share them", SHARED_SECONDS * 2, lambda s: s.second >= shared)
    story.loaded = False
    story.watch("No requests, until one replica is left", CALM_SECONDS, lambda s: s.wanted == s.ready == 1)
    show(story)


def scaled_or_why(namespace: str) -> str | None:
    """None once the service says that it is scaled, else its words."""
    service = json.loads(kubectl("get", f"llms/{NAME}", "-n", namespace, "-o", "json"))
    active, words = scaling_active(service)
    return None if active else words


def target_seconds() -> float:
    """The target in the manifest."""
    found = re.search(r"p99: (\d+)(ms|s)", (HERE / "chat-scaled.yaml").read_text())
    assert found, "chat-scaled.yaml has a target for p99"
    return quantity(found[1]) / (1000 if found[2] == "ms" else 1)


@contextmanager
def load(images: Images, namespace: str) -> Iterator[None]:
    """The load, as a job in the namespace; it is gone afterwards, also after Ctrl-C."""
    kubectl("delete", "job/load", "-n", namespace, "--ignore-not-found", "--grace-period=1")
    script = kubectl(
        "create", "configmap", "load", "-n", namespace, "--dry-run=client", "-o", "yaml",
        f"--from-file=load.py={ROOT / 'hack/load.py'}",
    )  # fmt: skip
    kubectl("apply", "-n", namespace, "-f", "-", input=script)
    manifest = (HERE / "load.yaml").read_text()
    for word, value in (("RUNTIME_IMAGE", images.runtime_cpu), ("IN_FLIGHT", IN_FLIGHT), ("SECONDS", LOAD_SECONDS)):
        manifest = manifest.replace(word, str(value))
    try:
        kubectl("apply", "-n", namespace, "-f", "-", input=manifest)
        yield
    finally:
        kubectl("delete", "job/load", "-n", namespace, "--ignore-not-found", "--grace-period=1")


def show(story: Story) -> None:
    """The whole picture, and what kubectl tells at the end."""
    if not sys.stdout.isatty():
        print()
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(plot.chart(story.samples, story.target, console.width - 10), soft_wrap=True)
    replicas = "one replica, two under load, one again"
    plot.save(story.samples, story.target, f"LLMService {NAME}: {replicas}", PICTURE)
    print(f"The picture: {PICTURE.resolve()}")
    print(f"\n$ kubectl describe hpa {NAME} -n {story.namespace}      (shortened)\n{description(story.namespace)}")
    print(f"$ kubectl describe llms {NAME} -n {story.namespace}      (its condition ScalingActive)")
    print(f"  {story.samples[-1].active[1]}")


def description(namespace: str) -> str:
    """What `kubectl describe hpa` says, without what it says twice."""
    kept, hide = [], False
    for line in kubectl("describe", "hpa", NAME, "-n", namespace, check=False).splitlines():
        if not line.startswith(" "):
            hide = line.split(":")[0] in HIDDEN
        if not hide and "FailedComputeMetricsReplicas" not in line:
            kept.append(SELECTOR.sub("", line))
    return "\n".join(kept)
