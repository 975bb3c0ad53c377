"""The forty failures: each is caused on purpose, reported in time, and fixed by its own advice.

The expected results are only in docs/failures.md. A test defines how its failure is caused, how it is detected, and the
fix that follows the advice. Whole campaigns record the results in docs/benchmarks/failures.json.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Callable
from typing import Any

from llmservice_contract.container import ENGINE_CONTAINER
from llmservice_operator.resources import names
from support.campaign import FULL
from support.cluster import MERGE, ROOT, wait_until
from support.serving import READY_SECONDS, Serving

LIST = ROOT / "docs" / "failures.md"
RESULTS = ROOT / "docs" / "benchmarks" / "failures.json"
TOLD_WITHIN = 30.0
"""Seconds from when a cause can be known."""
MADE_WITHIN = 300.0
"""What a failure may take to come about: an engine on a busy machine has to load first."""

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Expected:
    """A row of the list."""

    number: int
    what: str
    where: str
    reasons: tuple[str, ...]
    certainty: str
    field: str | None


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the status said."""

    finding: Json
    ready: Json
    """The condition Ready beside it."""
    seconds: float
    """From when it could be known."""
    wrong: tuple[str, ...]
    """What it said before as certain, and was not so."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One service that something is the matter with."""

    serving: Serving
    name: str

    def apply(self, service: Any) -> None:
        """Make or change the service."""
        self.serving.apply(service.build())

    def change(self, path: str, value: Any) -> None:
        """Change one field of the spec, as `kubectl patch --type merge` does; None takes it out."""
        body: Any = value
        for part in reversed(path.split(".")):
            body = {part: body}
        where = self.serving.path("LLMService", self.name)
        answer = self.serving.cluster.request("PATCH", where, body, content_type=MERGE)
        assert answer.ok, answer.message

    def status(self) -> Json:
        """Of the service, if it is on the newest spec; else empty."""
        found = self.serving.get("LLMService", self.name) or {}
        status = dict(found.get("status") or {})
        current = status.get("observedGeneration") == found.get("metadata", {}).get("generation")
        return status if current else {}

    def findings(self) -> list[Json]:
        """What it says is the matter."""
        return list(self.status().get("findings") or ())

    def condition(self, kind: str) -> Json:
        """A condition of the newest spec; empty if there is none."""
        return next((each for each in self.status().get("conditions") or () if each["type"] == kind), {})

    def pods(self) -> list[Json]:
        """All of its pods."""
        return self.serving.list("Pod", f"app.kubernetes.io/instance={self.name}")

    def containers(self, name: str = ENGINE_CONTAINER) -> list[Json]:
        """States of its pods' containers of that name."""
        found = (each for pod in self.pods() for each in pod.get("status", {}).get("containerStatuses") or ())
        return [each for each in found if each["name"] == name]

    # How one can see that it is broken.

    def has_ended(self, times: int = 1) -> bool:
        """Whether an engine has ended so often, and its end is there to be read."""
        for each in self.containers():
            now = (each.get("state") or {}).get("terminated")
            if each["restartCount"] + bool(now) >= times and (now or (each.get("lastState") or {}).get("terminated")):
                return True
        return False

    def has_been_read(self) -> bool:
        """Whether the model's own configuration is known."""
        return any((each.get("state") or {}).get("terminated") for each in self.containers(names.INSPECTION_CONTAINER))

    def waits(self, *reasons: str) -> bool:
        """Whether a container waits for one of these reasons."""
        return any(
            ((each.get("state") or {}).get("waiting") or {}).get("reason") in reasons for each in self.containers()
        )

    def is_turned_down(self) -> bool:
        """Whether the scheduler has found no node for a pod."""
        conditions = [each for pod in self.pods() for each in pod.get("status", {}).get("conditions") or ()]
        return any(each.get("reason") == "Unschedulable" for each in conditions)

    def is_reported(self, reason: str, kind: str = "Pod") -> bool:
        """Whether there is such an Event of one of its objects."""
        selector = f"reason={reason},regarding.kind={kind}"
        path = f"/apis/events.k8s.io/v1/namespaces/{self.serving.namespace}/events"
        found = self.serving.cluster.request("GET", path, fieldSelector=selector).body.get("items") or ()
        return any(self.name in each["regarding"]["name"] for each in found)


def expected(number: int) -> Expected:
    """The row of that number."""
    for line in LIST.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == str(number):
            _, what, where, reasons, certainty, field, _ = cells
            return Expected(
                number, what, where, tuple(re.findall(r"`(\w+)`", reasons)), certainty, field.strip("`") or None
            )
    raise AssertionError(f"{LIST.name} has no row {number}")


def number_in(text: str, pattern: str) -> str:
    """The number that the advice names."""
    found = re.search(pattern, text)
    assert found is not None, f"no {pattern} in {text!r}"
    return found[1]


def see(case: Case, row: Expected, knowable: Callable[[], bool]) -> Seen:
    """Waits until the failure has come about, and until the status tells of it."""
    known: float | None = None
    wrong: list[str] = []
    begun = time.monotonic()
    while True:
        status = case.status()
        found, now = status.get("findings") or (), time.monotonic()
        if found and found[0]["reason"] in row.reasons:
            ready = next(each for each in status["conditions"] if each["type"] == "Ready")
            return Seen(found[0], ready, 0.0 if known is None else now - known, tuple(wrong))
        if found and found[0]["certainty"] == "Certain" and found[0]["reason"] not in wrong:
            wrong.append(found[0]["reason"])
        if known is None and knowable():
            known = time.monotonic()
        late = now - begun > MADE_WITHIN if known is None else now - known > TOLD_WITHIN
        assert not late, (
            f"{row.number}: {row.what}: not reported as {row.reasons} (known: {known}), but {case.status()}"
        )
        time.sleep(0.1)


def prove(
    case: Case,
    number: int,
    knowable: Callable[[], bool],
    cure: Callable[[Json], Any] | Any,
    ready_within: float = READY_SECONDS,
) -> Json:
    """The whole of one failure that has been made: it is reported in time, as the list says, also in the conditions.

    Then the field of the finding is set to ``cure``, or to what it answers to the finding, or it does what the advice
    says and answers None; and the service becomes Ready.
    """
    row = expected(number)
    seen = see(case, row, knowable)
    finding = seen.finding
    assert not seen.wrong, f"{number}: reported as certain before, and wrong: {seen.wrong}"
    assert finding["certainty"] == row.certainty, finding
    assert finding.get("field") == row.field, finding
    assert finding.get("fix"), finding
    assert (seen.ready["status"], seen.ready["reason"]) == ("False", finding["reason"]), seen.ready
    begun = time.monotonic()
    if callable(cure):
        value = cure(finding)
        if value is not None:
            case.change(finding["field"], value)
    else:
        case.change(finding["field"], cure)
    ready(case, ready_within)
    keep(row, seen, time.monotonic() - begun)
    return finding


def ready(case: Case, within: float = READY_SECONDS) -> None:
    """Waits until the service is Ready, and has no findings left."""

    def well() -> bool:
        return case.condition("Ready").get("status") == "True" and not case.findings()

    try:
        wait_until(well, "", timeout=within, every=0.25)
    except AssertionError:
        raise AssertionError(f"{case.name} is not Ready within {within:g} s: {json.dumps(case.status())}") from None


def keep(row: Expected, seen: Seen, healed: float) -> None:
    """Note the result of a whole campaign."""
    result = {
        "number": row.number,
        "failure": row.what,
        "where": row.where,
        "expected": {"reason": " or ".join(row.reasons), "certainty": row.certainty, "field": row.field},
        "seen": {name: seen.finding.get(name) for name in ("reason", "certainty", "field", "message", "fix")},
        "toldAfterSeconds": round(seen.seconds, 1),
        "readyAfterAdviceSeconds": round(healed, 1),
    }
    print(json.dumps(result))
    if not FULL:
        return
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    others = [each for each in kept if each["number"] != row.number]
    RESULTS.write_text(json.dumps(sorted([*others, result], key=lambda each: each["number"]), indent=1) + "\n")
