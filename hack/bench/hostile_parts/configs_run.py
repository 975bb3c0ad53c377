"""Runs hostile models beside 20 good services with the operator as a separate process.

Each case is created as by a tenant: an LLMService, whose inspection Job's pod ends with the message that the runtime
makes from the config.json. Then good services change, so that both are planned at the same time. Measured are the
longest stall of the operator's event loop, and the good services with a wrong or late status.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from builders.services import a_service
from hostile_parts import configs_forms, configs_many, configs_patterns, configs_sizes
from hostile_parts.configs import ConfigCase, good
from hostile_parts.fake_cluster import OWNER, FakeCluster
from hostile_parts.figures import NOT_RUN, WANTED, Case, not_run
from hostile_parts.operator_process import OperatorProcess
from llmservice_contract.container import TERMINATION_MESSAGE_BYTES
from llmservice_contract.inspection import failure_to_json
from llmservice_runtime.model.inspection import facts
from llmservice_runtime.model.unreadable import ModelUnreadable, parsed

PART = "configs"
GOOD, EVIL = 20, "evil"
NAMESPACE, HOSTILE_NAMESPACE = "good", "hostile"
ASKED = 4
"""Good services that change in each case; all of them where a case is of many services."""
LATE_SECONDS = 3.0
"""A good service whose status comes later than this after its change was kept from it."""
GUARD_SECONDS = 6.0
"""How long one case may take before the operator is killed and the case counts as lost."""
MANY_GUARD_SECONDS = 45.0
AGAIN = 2
"""How often a case is tried once more whose stall is too long: the machine's own pauses only add to it, so the least
one counts."""
WEIGHT_BYTES = 16_060_522_240
"""Of the good model."""
FIGURES = ("operator_longest_stall_ms", "other_services_affected")
PENDING = frozenset({"InspectingModel", "Estimating"})
"""Reasons of conditions that will say more."""
SETTINGS = {"LLMSERVICE_FIT": "Warn", "LLMSERVICE_NAMESPACES": f"{NAMESPACE},{HOSTILE_NAMESPACE}"}

COUNT = 200


def all_cases() -> tuple[ConfigCase, ...]:
    """Exactly COUNT of them, each by a name of its own."""
    found = tuple(_of(configs_patterns, configs_sizes, configs_forms, configs_many))
    names = {case.name for case in found}
    if len(found) != COUNT or len(names) != COUNT:
        raise ValueError(f"{len(found)} cases with {len(names)} names, not {COUNT}")
    return found


def _of(*modules: Any) -> Iterator[ConfigCase]:
    for module in modules:
        yield from module.cases()


def message_of(case: ConfigCase) -> str:
    """What the container that reads the model leaves, as far as the kubelet keeps it: its end."""
    text = (case.message if case.message is not None else _runtime_says(case.text)).encode(errors="surrogatepass")
    return text[-TERMINATION_MESSAGE_BYTES:].decode(errors="ignore")


def _runtime_says(text: bytes) -> str:
    """The runtime's own words; nothing if it died of it."""
    try:
        # Without weights in safetensors nothing can be held against their size.
        return facts(parsed(text, "config.json"), None).to_json()
    except ModelUnreadable as error:
        return failure_to_json(error.finding)
    except (ValueError, TypeError, RecursionError, OverflowError):
        return ""


class Bench:
    """The good services and the operator; ``run`` one case after the other."""

    def __init__(self, directory: Path) -> None:
        self._message = ""
        self._cluster = FakeCluster(directory, self._message_of)
        self._directory = directory
        self._process: OperatorProcess | None = None
        self._honest = facts(parsed(good(), "config.json"), WEIGHT_BYTES).to_json()
        self._right: Mapping[str, Any] = {}
        self._context = 2048
        self._turn = 0
        self._honest_many: dict[tuple[int, int, bool], Case] = {}
        """What as many honest services take: any work of the operator is shared with them."""
        self.rss: list[float] = []

    def __enter__(self) -> Bench:
        self._cluster.__enter__()
        for number in range(GOOD):
            self._cluster.apply(self._good(number))
        self._process = OperatorProcess(self._cluster.kubeconfig, self._directory, SETTINGS)
        self._begin()
        found = self._verdict(NAMESPACE, "good-0")
        self._right = {} if found is None else found
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self._cluster.__exit__()

    @property
    def process(self) -> OperatorProcess:
        """The operator."""
        if self._process is None:
            raise RuntimeError("use it as a context manager")
        return self._process

    def run(self, case: ConfigCase) -> Case:
        """The case, once more where the loop stood still for too long."""
        if _is_many(case) and _size(case) not in self._honest_many:
            self._honest_many[_size(case)] = self._once(dataclasses.replace(case, name="honest", text=good()))
        found = self._once(case)
        for _ in range(AGAIN):
            stall = found.figures[FIGURES[0]]
            if not WANTED[FIGURES[0]] < stall < GUARD_SECONDS * 1000 or found.figures[FIGURES[1]]:
                break
            again = self._once(case)
            found = min(found, again, key=lambda each: (each.figures[FIGURES[1]], each.figures[FIGURES[0]]))
        return found

    def _once(self, case: ConfigCase) -> Case:
        self._message = message_of(case)
        guard = GUARD_SECONDS if case.services == 1 and not case.changes else MANY_GUARD_SECONDS
        names = [f"{EVIL}-{number}" for number in range(case.services)]
        asked = self._asked(GOOD if case.services > 1 or case.changes else ASKED)
        self._cluster.delivered.clear()
        self.process.forget_stalls()
        cpu, began = self.process.cpu_seconds(), time.monotonic()
        for name in names:
            self._cluster.apply(self._evil(case, name))
        alive = self._until(lambda: len(self._cluster.delivered) == len(names), guard)
        touched = self._touch(asked)
        for change in range(case.changes):
            self._cluster.apply(self._evil(case, names[0], change + 1))
            time.sleep(0.05)
        like = self._honest_many.get(_size(case))
        honest = 0.0 if like is None else like.notes["seconds"]
        if case.restart and alive:
            self.process.kill()
            self.process.start()
            touched = time.monotonic()
        done: dict[str, float] = {}
        self._until(lambda: self._all_planned(names, asked, done), guard)
        seen = self._verdict(HOSTILE_NAMESPACE, names[0])
        took = time.monotonic() - began
        stall = self.process.longest_stall() if self.process.running else guard
        if case.restart and like is not None:  # it takes in all that there is
            stall = max(0.0, stall - like.figures[FIGURES[0]] / 1000)
        late = LATE_SECONDS + honest
        wrong = [
            name
            for name in asked
            if done.get(name, touched + guard) - touched > late or not self._is_right(NAMESPACE, name)
        ]
        notes: dict[str, Any] = {
            "cpu_s": round(self.process.cpu_seconds() - cpu, 2),
            "stall_cpu_ms": round(self.process.stall_cpu() * 1000, 1),
            "message_bytes": len(self._message),
        }
        if _is_many(case):
            notes["seconds"] = round(max(done.values(), default=math.inf) - touched, 2)
            notes["honest"] = honest
        if wrong:
            notes["affected"] = wrong
            notes["instead"] = self._verdict(NAMESPACE, wrong[0])
        silent = sum(self._verdict(HOSTILE_NAMESPACE, name) is None for name in names)
        if silent:
            notes["without_status"] = silent
        if not self.process.running:
            notes["operator"] = "ended"
        for name in names:
            self._cluster.remove(HOSTILE_NAMESPACE, name)
        if not self.process.running or self.process.present_stall() > GUARD_SECONDS / 2:
            stall, wrong = max(stall, guard), wrong or asked
            self._begin()
        self.rss.append(self.process.rss_mib())
        return Case(
            PART,
            case.name,
            case.family,
            _words(seen),
            took * 1000,
            {FIGURES[0]: round(stall * 1000, 1), FIGURES[1]: float(len(wrong))},
            notes,
        )

    def _begin(self) -> None:
        """Start the operator, and wait until every good service has its status."""
        self.process.kill()
        self.process.start()
        names = [f"good-{number}" for number in range(GOOD)]
        if not self._until(lambda: all(self._current(NAMESPACE, name) for name in names), 60.0):
            raise TimeoutError(f"the good services have no status:\n{self.process.log.read_text()[-3000:]}")

    def _asked(self, count: int) -> list[str]:
        self._turn += count
        return [f"good-{(self._turn + number) % GOOD}" for number in range(count)]

    def _touch(self, names: Sequence[str]) -> float:
        """Change good services so that their fit is asked anew."""
        self._context += 16
        for name in names:
            self._cluster.apply(self._good(int(name.partition("-")[2])))
        return time.monotonic()

    def _all_planned(self, names: Sequence[str], asked: Sequence[str], done: dict[str, float]) -> bool:
        for name in asked:
            if name not in done and self._current(NAMESPACE, name):
                done[name] = time.monotonic()
        return len(done) == len(asked) and all(self._current(HOSTILE_NAMESPACE, name) for name in names)

    def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline or not self.process.running:
                return False
            time.sleep(0.01)
        return True

    def _current(self, namespace: str, name: str) -> bool:
        """Whether the status is on the service as it is now, its model read."""
        service = self._cluster.read(OWNER, namespace, name)
        conditions = _conditions(service)
        generation = service["metadata"]["generation"] if service else 0
        known = {"Fits", "Accepted"} <= conditions.keys() and not any(
            each["reason"] in PENDING for each in conditions.values()
        )
        return known and all(each.get("observedGeneration") == generation for each in conditions.values())

    def _verdict(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        service = self._cluster.read(OWNER, namespace, name)
        conditions = _conditions(service)
        if not conditions or service is None:
            return None
        memory = service["status"].get("memory") or {}
        return {"weights": memory.get("weights"), "fits": conditions.get("Fits", {}).get("message", "")} | {
            kind: (each["status"], each["reason"]) for kind, each in conditions.items()
        }

    def _is_right(self, namespace: str, name: str) -> bool:
        found = self._verdict(namespace, name)
        same = ("weights", "Fits", "Accepted", "Ready")
        return found is not None and all(found.get(each) == self._right.get(each) for each in same)

    def _message_of(self, owner: str) -> str:
        return self._message if owner.startswith(EVIL) else self._honest

    def _good(self, number: int) -> dict[str, Any]:
        built = a_service(f"good-{number}", NAMESPACE).from_source("hf://org/good").on("NVIDIA-H100-80GB-HBM3")
        return built.with_replicas(1).with_spec(model={"maxContextLength": self._context}).build()

    def _evil(self, case: ConfigCase, name: str, change: int = 0) -> dict[str, Any]:
        built = a_service(name, HOSTILE_NAMESPACE).from_source(f"hf://evil/{case.name}"[:200]).on(*case.products)
        built = built.with_replicas(1).with_spec(**case.spec)
        # Each service asks a question of its own.
        context = 1024 + 1000 * change + int(name.rpartition("-")[2])
        return built.with_spec(model={"maxContextLength": context}).build()


def run(cases: Sequence[ConfigCase], say: Callable[[str], None], deadline: float) -> Iterator[Case]:
    """Each case's outcome; those that the time does not suffice for are not run."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as directory, contextlib.ExitStack() as stack:
        bench = stack.enter_context(Bench(Path(directory)))
        for number, case in enumerate(cases, 1):
            if time.monotonic() > deadline:
                yield not_run(PART, case.name, case.family, FIGURES, "no time left")
                continue
            found = bench.run(case)
            bad = f" MISSED {', '.join(found.missed)}" if found.missed else ""
            stall = found.figures[FIGURES[0]]
            say(f"{number}/{len(cases)} {case.name}: {found.ms:.0f} ms, stall {stall:.0f} ms: {found.verdict}{bad}")
            yield found


def _is_many(case: ConfigCase) -> bool:
    return case.services > 1 or case.changes > 0


def _size(case: ConfigCase) -> tuple[int, int, bool]:
    return case.services, case.changes, case.restart


def _conditions(service: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    status = (service or {}).get("status") or {}
    return {each["type"]: each for each in status.get("conditions") or ()}


def _words(seen: Mapping[str, Any] | None) -> str:
    if seen is None:
        return NOT_RUN if seen else "no status"
    fits = seen.get("Fits")
    said = "" if fits is None else f"Fits {fits[0]} {fits[1]}: {seen['fits']}"
    return (said or f"Accepted {' '.join(seen.get('Accepted', ('', '')))}")[:200]
