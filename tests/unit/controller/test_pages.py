"""Lists are read page by page, with as many objects in a page as the operator can hold."""

from typing import Any

import pytest

from llmservice_operator.controller.client import api
from llmservice_operator.controller.client.errors import TooLong, Unreachable
from llmservice_operator.resources.kinds import CONFIGMAP
from unit.controller.conftest import Shell


def config_map(name: str, size: int) -> dict[str, Any]:
    meta = {"namespace": "team-a", "name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"value": "x" * size}}


async def test_large_objects_come_in_smaller_pages(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "LONGEST", 100_000)
    names = [f"large-{number:02}" for number in range(40)]
    for name in names:
        shell.api.put(config_map(name, 20_000))
    pages = [page async for page, _ in shell.cluster.pages(CONFIGMAP, "team-a")]
    found = [item["metadata"]["name"] for page in pages for item in page]
    assert sorted(found) == names
    assert max(len(page) for page in pages) <= 5


async def test_an_object_that_is_too_large_by_itself_is_an_error(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "LONGEST", 100_000)
    shell.api.put(config_map("large", 200_000))
    with pytest.raises(TooLong):
        _ = [page async for page, _ in shell.cluster.pages(CONFIGMAP, "team-a")]
    with pytest.raises(TooLong):
        await shell.cluster.get(CONFIGMAP, "team-a", "large")


async def test_a_page_that_takes_too_long_is_asked_for_with_fewer_objects(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"slow-{number:02}" for number in range(5)]
    for name in names:
        shell.api.put(config_map(name, 10))
    asked: list[str] = []
    request = shell.cluster._request

    async def slow(method: str, path: str, **more: Any) -> dict[str, Any]:
        asked.append(more["query"]["limit"])
        if int(asked[-1]) > 50:
            raise Unreachable("TimeoutError: ", what=path) from TimeoutError()
        return await request(method, path, **more)

    monkeypatch.setattr(shell.cluster, "_request", slow)
    pages = [page async for page, _ in shell.cluster.pages(CONFIGMAP, "team-a")]
    assert sorted(item["metadata"]["name"] for page in pages for item in page) == names
    assert len(asked) == 3


async def test_a_server_that_is_not_there_is_asked_once(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def gone(method: str, path: str, **_: Any) -> dict[str, Any]:
        asked.append(path)
        raise Unreachable("ClientConnectorError: ", what=path) from OSError()

    monkeypatch.setattr(shell.cluster, "_request", gone)
    with pytest.raises(Unreachable):
        _ = [page async for page, _ in shell.cluster.pages(CONFIGMAP, "team-a")]
    assert len(asked) == 1
