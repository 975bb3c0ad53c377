"""Faults between shell and API server: each look that meets one ends in a typed error, and the next makes it good."""

import pytest

from llmservice_operator.controller.client.errors import ApiError, Conflict, Throttled, Unavailable, Unreachable
from llmservice_operator.controller.informer.resync import LOOK_EVERY, Sweep
from llmservice_operator.resources.kinds import watched
from llmservice_operator.resources.platform import Adapter
from support.fake_api import refusal
from unit.controller.conftest import KEY, Shell, config_map

WRITES = ["apply ConfigMap chat-env", "status LLMService chat"]


@pytest.mark.parametrize("call", WRITES)
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (refusal(500, "etcd is slow"), Unavailable),
        (refusal(503, "starting"), Unavailable),
        (refusal(504, "timed out"), Unavailable),
        (refusal(409, "the object has been modified"), Conflict),
        ((429, {"message": "too many requests"}, {"Retry-After": "17"}), Throttled),
        ("hang up", Unreachable),
        ("commit, then hang up", Unreachable),
        ("cut", Unreachable),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
async def test_a_write_that_fails_is_made_good_by_the_next_look(
    shell: Shell, call: str, fault: object, error: type[ApiError]
) -> None:
    shell.api.fail_once(lambda seen: fault if seen == call else None)
    with pytest.raises(error):
        await shell.look()
    await shell.settle()
    child = shell.api.get("ConfigMap", "team-a", "chat-env")
    assert child
    assert child["data"] == {"value": "1"}
    assert shell.condition("Ready")["status"] == "True"
    assert shell.condition("Reconciling") == {}, "a fault of the API server is no fault of the service"


async def test_the_api_server_s_wish_to_wait_is_passed_on(shell: Shell) -> None:
    slow = (429, {"message": "too many requests"}, {"Retry-After": "17"})
    shell.api.fail_once(lambda call: slow if call.startswith("apply") else None)
    with pytest.raises(Throttled) as caught:
        await shell.look()
    assert caught.value.retry_after == 17


async def test_a_child_recreated_by_somebody_else_under_an_old_view_is_not_overwritten(shell: Shell) -> None:
    await shell.settle()
    child = shell.api.objects["ConfigMap", "team-a", "chat-env"]
    shell.see({**child, "metadata": {**child["metadata"], "resourceVersion": "100000"}, "data": {}})
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "team-a", "name": "chat-env"}}
    shell.api._version = 200_000
    shell.api.put({**theirs, "data": {"mine": "yes"}})
    with pytest.raises(Conflict):
        await shell.look()
    await shell.look()
    assert shell.api.objects["ConfigMap", "team-a", "chat-env"]["data"] == {"mine": "yes"}


async def test_a_service_recreated_under_an_old_view_gets_no_status_of_its_predecessor(shell: Shell) -> None:
    shell.api.fail_once(lambda call: None)
    old = shell.api.objects["LLMService", "team-a", "chat"]
    shell.api.put({**old, "metadata": {**old["metadata"], "uid": "successor"}, "status": {}})
    with pytest.raises(Conflict):
        await shell.look()
    assert shell.api.objects["LLMService", "team-a", "chat"]["status"] == {}
    service = shell.cache.service(KEY)
    assert service
    assert service["metadata"]["uid"] == "successor"


def sweep_of(shell: Shell, added: list[tuple[str, str]]) -> Sweep:
    return Sweep(
        shell.cluster,
        shell.cache,
        watched=lambda: watched(Adapter.NONE),
        namespaces=[],
        interval=600,
        add_after=lambda key, seconds: added.append(key),
    )


async def test_the_sweep_finds_what_was_deleted_without_an_event(shell: Shell) -> None:
    await shell.settle()
    del shell.api.objects["ConfigMap", "team-a", "chat-env"]
    shell.api._version += 10
    added: list[tuple[str, str]] = []
    await sweep_of(shell, added).once()
    assert KEY in added
    await shell.settle()
    assert shell.api.get("ConfigMap", "team-a", "chat-env")


async def test_the_sweep_finds_what_was_changed_or_made_without_an_event(shell: Shell) -> None:
    await shell.settle()
    child = shell.api.objects["ConfigMap", "team-a", "chat-env"]
    shell.api.put({**child, "metadata": {**child["metadata"]}, "data": {"value": "by hand"}})
    service = shell.cache.service(KEY)
    assert service
    shell.api.put(config_map(service, name="chat-new"))
    await sweep_of(shell, []).once()
    assert [child["metadata"]["name"] for child in shell.cache.related(KEY)] == ["chat-env", "chat-new"]
    await shell.settle()
    assert shell.api.objects["ConfigMap", "team-a", "chat-env"]["data"] == {"value": "1"}


async def test_the_sweep_reads_metadata_and_fetches_nothing_where_nothing_was_lost(shell: Shell) -> None:
    await shell.settle()
    before = len(shell.api.calls)
    await sweep_of(shell, []).once()
    assert all(call.startswith("list ") for call in shell.api.calls[before:])


async def test_every_service_is_looked_at_now_and_then_whatever_the_sweep_finds(shell: Shell) -> None:
    await shell.settle()
    added: list[tuple[str, str]] = []
    sweep = sweep_of(shell, added)
    for _ in range(LOOK_EVERY - 1):
        await sweep.once()
    assert added == []
    await sweep.once()
    assert added == [KEY]
