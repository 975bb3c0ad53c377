"""The list of adapters against an engine that is none: what it is asked to load, and what clients get."""

from __future__ import annotations

import asyncio
import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmservice_contract.adapters import Adapter, AdapterList
from llmservice_runtime.adapters.request import FetchRequest, FetchResult
from llmservice_runtime.vllm_plugins import adapters as plugin
from llmservice_runtime.vllm_plugins.adapters import Adapters


class Engine:
    """Loads every adapter, except those of a broken place."""

    def __init__(self) -> None:
        self.loaded: dict[int, str] = {}
        self.output_processor = SimpleNamespace(request_states={})

    async def add_lora(self, request: Any) -> None:
        if "broken" in request.lora_name:
            raise ValueError("expected target modules in {'q_proj'} but received ['router']")
        self.loaded[request.lora_int_id] = request.lora_name

    async def remove_lora(self, number: int) -> None:
        self.loaded.pop(number, None)


class House:
    """An engine, and the list that it follows."""

    def __init__(self, directory: Path, drain_seconds: float = -60) -> None:
        self.file = directory / "adapters.json"
        self.engine = Engine()
        self.models = SimpleNamespace(lora_requests={}, model_name=lambda: "base", show_available_models=self._listed)
        asked = FetchRequest(Adapter("", ""), "", 0, 16)
        self.adapters = Adapters(
            self.models, self.engine, self.file, directory / "copies", asked, drain_seconds, lambda _: None
        )
        self.digests: dict[str, str] = {}
        self.adapters._fetch = self._fetch  # type: ignore[method-assign]

    async def _listed(self) -> Any:
        cards = [SimpleNamespace(id=each.lora_name, root=each.lora_path) for each in self.models.lora_requests.values()]
        return SimpleNamespace(data=[SimpleNamespace(id="base", root="/model"), *cards])

    async def _fetch(self, adapter: Adapter, _place: Path) -> FetchResult:
        if "absent" in adapter.source:
            return FetchResult(reason="AdapterNotFound", message="there is none.")
        return FetchResult(digest=self.digests.get(adapter.source, adapter.source.strip("/").ljust(64, "0")))

    def set(self, sources: Mapping[str, str]) -> None:
        self.write(sources)
        asyncio.run(asyncio.wait_for(self.adapters._follow(), 5))

    def write(self, sources: Mapping[str, str]) -> None:
        part = self.file.with_suffix(".part")
        part.write_text(AdapterList(tuple(Adapter(name, each) for name, each in sources.items())).to_json())
        part.replace(self.file)

    def states(self) -> dict[str, tuple[str, str | None]]:
        return {each["name"]: (each["state"], each.get("reason")) for each in json.loads(self.adapters.report())}

    def served(self) -> dict[str, str]:
        return {name: each.lora_name for name, each in self.models.lora_requests.items()}


@pytest.fixture(autouse=True)
def request_of_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("vllm.lora.request")
    module.LoRARequest = SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm.lora.request", module)


def test_each_version_has_a_name_of_its_own_in_the_engine(tmp_path: Path) -> None:
    house = House(tmp_path, drain_seconds=1000)
    house.set({"a": "/one"})
    house.set({"a": "/two"})
    assert house.served() == {"a": "a@two000000000.2"}
    assert house.engine.loaded == {1: "a@one000000000.1", 2: "a@two000000000.2"}, "the first may be in use"
    answered = house.models.lora_requests["a"]
    assert house.models.model_name(answered) == "a" and house.models.model_name() == "base"
    cards = asyncio.run(house.models.show_available_models()).data
    assert [(each.id, each.root) for each in cards] == [("base", "/model"), ("a", "/two")]


def test_a_version_is_freed_when_no_request_uses_it(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.set({"a": "/one"})
    house.engine.output_processor.request_states["x"] = SimpleNamespace(lora_name="a@one000000000.1")
    house.set({})
    assert house.served() == {} and house.engine.loaded == {1: "a@one000000000.1"}
    house.engine.output_processor.request_states.clear()
    house.set({"b": "/two"})
    assert list(house.engine.loaded) == [2]


def test_one_that_fails_leaves_others_and_its_predecessor(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.set({"a": "/one", "broken": "/two", "c": "/absent"})
    assert house.states() == {
        "a": ("Ready", None),
        "broken": ("Failed", "AdapterDoesNotFit"),
        "c": ("Failed", "AdapterNotFound"),
    }
    house.set({"a": "/absent"})
    assert house.states() == {"a": ("Failed", "AdapterNotFound")}
    assert house.served() == {"a": "a@one000000000.1"}
    house.set({"a": "/one"})
    assert house.states() == {"a": ("Ready", None)}


def test_the_same_weights_from_elsewhere_are_not_loaded_again(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.digests = {"/one": "f" * 64, "/two": "f" * 64}
    house.set({"a": "/one"})
    house.set({"a": "/two"})
    assert house.states() == {"a": ("Ready", None)} and list(house.engine.loaded) == [1]


def test_a_replica_is_ready_when_each_was_tried(tmp_path: Path) -> None:
    house = House(tmp_path)
    assert house.adapters.not_ready == "Adapters are loading: 0 of 0 are served."
    house.set({"a": "/absent"})
    assert house.adapters.not_ready is None


def test_a_bad_list_changes_nothing(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.set({"a": "/one"})
    for text in (
        "",
        "[]",
        '{"adapters":[{"name":"a@b","source":"/x"}]}',
        '{"adapters":[{"name":"a","source":"/x","y":1}]}',
    ):
        house.file.write_text(text)
        asyncio.run(house.adapters._follow())
        assert house.served() == {"a": "a@one000000000.1"}


def test_a_slow_source_does_not_delay_a_removal_and_is_given_up_when_it_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "EVERY_SECONDS", 0.01)
    house = House(tmp_path, drain_seconds=600)
    house.set({"a": "/one", "b": "/two"})
    ended: list[list[str]] = []

    async def hang(_adapter: Adapter, _place: Path) -> FetchResult:
        house.write({"slow": "/slow", "b": "/two"})
        removed = asyncio.Event()
        monkeypatch.setattr(house.adapters, "_say", lambda _: removed.set())
        await removed.wait()
        house.write({"b": "/two"})
        try:
            return await asyncio.Future()
        finally:
            ended.append(list(house.served()))

    monkeypatch.setattr(house.adapters, "_fetch", hang)
    house.set({"slow": "/slow", "a": "/one", "b": "/two"})
    assert ended == [["b"]]
    assert house.states() == {"b": ("Ready", None)}
