"""The demo's second half: a load lifts the latency above its target, and a second replica brings it back.

When the load ends, that replica goes. A short measurement sizes the load for this machine (sizing.py).
It shows only what a user can read: the metrics API, the autoscaler and the service. The load ends by
itself: after the last step, if the demo is interrupted, and at its time limit even if the demo is killed.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

import plot
import sizing
from cluster import ROOT, Images
from kube import kubectl
from progress import Step, StepFailed, wait_until
from samples import Sample, look, scaling_active

HERE = Path(__file__).parent
NAME = "chat"
PICTURE = Path("build/demo-scaling.png")
LOAD_SECONDS = 600
"""Limit of the load."""
MEASURE_SECONDS = 180
"""Limit of the measurement."""
CALM_SECONDS = 180
"""How long the way back may take, beside what the load took."""
SHARED_SECONDS = 150
"""Within so many seconds two replicas meet the target; what waited before is in the percentile for 30 of them."""
MET_LOOKS = 4
"""So many looks in a row at or below the target are a target that is met."""
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
        self.met = 0
        """Looks in a row, up to the newest one, at which two replicas met the target."""
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
                self.met = self.met + 1 if self.is_met(sample) else 0
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

    def is_met(self, sample: Sample) -> bool:
        """Whether two replicas answer, and as fast as the target wants it."""
        return sample.ready == 2 and sample.latency is not None and sample.latency <= self.target


def scale(images: Images, namespace: str, number: int, total: int, to_zero: Callable[[], None] | None = None) -> None:
    """Tell the story, as step ``number``. With ``to_zero``, which allows it, no replica is left at its end, otherwise
    one. Raises StepFailed if it does not come to its end."""
    with Step(number, total, "Scaling on latency", "the measurement of one replica") as step:
        try:
            measured = measure(step, images, namespace)
            size = sizing.size(measured, slots())
        except sizing.NotMeasured as error:
            raise StepFailed(str(error)) from error
        step.waiting_for = "kubectl apply"
        applied = manifest(size.target_ms)
        kubectl("apply", "-n", namespace, "-f", "-", input=applied)
        wait_until(step, 120, lambda: scaled_or_why(namespace))
    print(f"\n{size.why(measured, slots())}\n\n$ kubectl apply -f hack/demo/chat-scaled.yaml\n{applied}")
    story = Story(namespace, size.target_ms / 1000)
    with load(images, namespace, size):
        story.loaded = True
        limit = LOAD_SECONDS - SHARED_SECONDS
        story.watch("The load, until a second replica answers", limit, lambda s: s.ready == 2)
        story.watch("Two replicas share it, until the target is met", SHARED_SECONDS, lambda s: story.met >= MET_LOOKS)
    story.loaded = False
    left, words = (0, "no replica") if to_zero else (1, "one replica")
    if to_zero:
        to_zero()
    story.watch(f"No requests, until {words} is left", CALM_SECONDS, lambda s: s.wanted == s.ready == left)
    show(story, f"one replica, two under load, {'none without requests' if to_zero else 'one again'}")


def scaled_or_why(namespace: str) -> str | None:
    """None once the service says that it is scaled, else its words."""
    service = json.loads(kubectl("get", f"llms/{NAME}", "-n", namespace, "-o", "json"))
    active, words = scaling_active(service)
    return None if active else words


def slots() -> int:
    """Requests that a replica computes at a time, by the manifest."""
    return int(yaml.safe_load((HERE / "chat-scaled.yaml").read_text())["spec"]["engine"]["maxNumSeqs"])


def manifest(target_ms: int) -> str:
    """The manifest with the target for this machine."""
    text, changed = re.subn(r"p99: 200ms\b", f"p99: {target_ms}ms", (HERE / "chat-scaled.yaml").read_text())
    assert changed == 1, "chat-scaled.yaml has one target for p99, 200ms"
    return text


def measure(step: Step, images: Images, namespace: str) -> sizing.Measured:
    """What one replica does while all its places are taken. Raises NotMeasured, and StepFailed without an end."""
    with job(images, namespace, "measure", HERE / "measure.py", f"--burst={slots()}"):
        wait_until(step, MEASURE_SECONDS, lambda: ended(namespace, "measure"))
        return sizing.read(kubectl("logs", "-n", namespace, "job/measure", check=False))


def ended(namespace: str, name: str) -> str | None:
    """None once the job has ended, well or not; else what is waited for."""
    status = json.loads(kubectl("get", f"job/{name}", "-n", namespace, "-o", "json")).get("status", {})
    return None if status.get("succeeded") or status.get("failed") else "the measurement of one replica"


@contextmanager
def load(images: Images, namespace: str, size: sizing.Size) -> Iterator[None]:
    """The load."""
    arguments = (
        f"--in-flight={size.in_flight}", f"--every={size.every}", f"--max-tokens={size.max_tokens}",
        f"--seconds={LOAD_SECONDS}",
    )  # fmt: skip
    with job(images, namespace, "load", ROOT / "hack/load.py", *arguments):
        yield


@contextmanager
def job(images: Images, namespace: str, name: str, script: Path, *arguments: str) -> Iterator[None]:
    """A job that runs the script against the service; it is gone afterwards, also after Ctrl-C."""
    delete = ("delete", f"job/{name}", "-n", namespace, "--ignore-not-found", "--grace-period=1")
    kubectl(*delete)
    source = f"--from-file={name}.py={script}"
    mounted = kubectl("create", "configmap", name, "-n", namespace, "--dry-run=client", "-o", "yaml", source)
    kubectl("apply", "-n", namespace, "-f", "-", input=mounted)
    try:
        kubectl("apply", "-n", namespace, "-f", "-", input=job_manifest(images, name, arguments))
        yield
    finally:
        kubectl(*delete)


def job_manifest(images: Images, name: str, arguments: Sequence[str]) -> str:
    """The job of load.yaml."""
    text = (HERE / "load.yaml").read_text()
    for word, value in (
        ("RUNTIME_IMAGE", images.runtime_cpu),
        ("ARGUMENTS", ", ".join(json.dumps(each) for each in arguments)),
        ("NAME", name),
    ):
        text = text.replace(word, value)
    return text


def show(story: Story, replicas: str) -> None:
    """The whole picture, named after its ``replicas``, and what kubectl tells at the end."""
    if not sys.stdout.isatty():
        print()
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(plot.chart(story.samples, story.target, console.width - 10), soft_wrap=True)
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
