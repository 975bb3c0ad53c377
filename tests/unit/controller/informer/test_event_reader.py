"""Events are read where a plan asks for them, once for all who ask, and what they say reaches it."""

import gc
import tracemalloc
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from llmservice_operator.controller.informer.event_reader import KEPT_BYTES, LONGEST_NAME, LONGEST_NOTE, NamespaceEvents
from llmservice_operator.planner.model.observed import Input
from llmservice_operator.planner.model.plan import Plan
from support.fake_api import refusal
from unit.controller.conftest import KEY, NOW, Shell


def an_event(name: str, reason: str, note: str, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": KEY[0], "name": name, "creationTimestamp": "2026-01-02T03:04:00Z"},
        "regarding": {"kind": "Pod", "name": "chat-0", "uid": "u"},
        "reason": reason,
        "note": note,
        **more,
    }


async def test_events_are_read_only_where_the_plan_asks_and_then_shared(shell: Shell) -> None:
    await shell.look()
    assert "list Event" not in shell.api.calls
    shell.api.put(an_event("b", "FailedMount", "later", series={"lastObservedTime": "2026-01-02T03:04:03.5Z"}))
    shell.api.put(an_event("a", "Evicted", "earlier", deprecatedLastTimestamp="2026-01-02T03:04:01Z"))
    shell.plan = lambda observed: Plan(requires=observed.missing(Input.EVENTS))
    for _ in range(3):
        await shell.look()
    assert shell.api.calls.count("list Event") == 1
    found = shell.observed[-1].events
    assert found is not None
    assert [(each.kind, each.name, each.uid, each.reason, each.note) for each in found] == [
        ("Pod", "chat-0", "u", "Evicted", "earlier"),
        ("Pod", "chat-0", "u", "FailedMount", "later"),
    ]
    assert all(each.time is not None and each.time < NOW for each in found)


async def test_without_permission_for_events_the_plan_goes_on_without_them(shell: Shell) -> None:
    shell.api.fail_once(lambda call: refusal(403, "events is forbidden") if call == "list Event" else None)
    shell.plan = lambda observed: Plan(requires=observed.missing(Input.EVENTS), requeue_after=7)
    assert await shell.look() == 7
    assert await shell.look() == 7
    assert shell.api.calls.count("list Event") == 1


async def test_long_texts_of_an_event_are_cut_and_a_time_that_is_none_is_none(shell: Shell) -> None:
    shell.api.put(an_event("a", "x" * 10_000, "n" * 1_000_000, eventTime="garbage"))
    shell.plan = lambda observed: Plan(requires=observed.missing(Input.EVENTS))
    await shell.look()
    (found,) = shell.observed[-1].events or ()
    assert (len(found.reason), len(found.note), found.time) == (LONGEST_NAME, LONGEST_NOTE, None)


async def test_long_events_of_many_namespaces_take_bounded_memory() -> None:
    note = "n" * 2000 + "\N{GRINNING FACE}"

    async def pages(*_: Any, **__: Any) -> AsyncIterator[Any]:
        for first in range(0, 2000, 500):
            yield [an_event(f"{first + n}", f"{first + n}", f"{first + n}{note}") for n in range(500)], "1"

    events = NamespaceEvents(SimpleNamespace(pages=pages))  # type: ignore[arg-type]
    gc.collect()
    tracemalloc.start()
    try:
        for n in range(24):
            assert await events.of(f"team-{n}")
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 1.25 * KEPT_BYTES
    finally:
        tracemalloc.stop()
