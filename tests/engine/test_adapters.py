"""LoRA adapters on real vLLM: ten of them change on two replicas while clients ask for them."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from llmservice_contract.adapters import Adapter, AdapterList
from support.adapters import distinct_pairs, make_saying, read_tensor, write_adapter
from support.cluster import wait_until
from support.engine import Engine, make_model

ADAPTERS = 10
PROMPT = "The engine"
FIRST_TOKEN = 260
"""Tokens from here on are words of the model's vocabulary."""


@dataclass
class Fleet:
    """Two replicas that read the same list."""

    engines: list[Engine]
    list_file: Path
    directory: Path
    head: list[list[float]]
    unused: Iterator[tuple[int, int]]
    """Pairs of tokens that no adapter has yet."""
    tokens: dict[str, set[int]] = field(default_factory=dict)
    """The tokens of each adapter, by its directory."""

    def make(self, name: str) -> str:
        """A new adapter, as a source."""
        one, other = next(self.unused)
        path = str(make_saying(self.directory / name, self.head, one, other))
        self.tokens[path] = {one, other}
        return path

    def set_list(self, sources: Mapping[str, str]) -> None:
        """As the kubelet does it: at once."""
        text = AdapterList(tuple(Adapter(name, source) for name, source in sources.items())).to_json()
        part = self.list_file.with_suffix(".part")
        part.write_text(text)
        part.replace(self.list_file)

    def reports(self) -> list[dict[str, Any]]:
        """What each replica says about each adapter, by name."""
        found = []
        for engine in self.engines:
            with urllib.request.urlopen(f"http://127.0.0.1:{engine.metrics_port}/adapters", timeout=30) as answer:
                found.append({each["name"]: each for each in json.load(answer)})
        return found

    def wait_until_serving(self, sources: Mapping[str, str]) -> None:
        """Until every replica serves this list and nothing else."""

        def serve() -> bool:
            return all(
                {name: (each["source"], each["state"]) for name, each in report.items()}
                == {name: (source, "Ready") for name, source in sources.items()}
                for report in self.reports()
            )

        wait_until(serve, 120)

    def tokens_of(self, engine: Engine, name: str) -> set[int]:
        answer = engine.complete(PROMPT, model=name, max_tokens=4, return_token_ids=True)
        assert answer["model"] == name
        return set(answer["choices"][0]["token_ids"])


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    directory = tmp_path_factory.mktemp("adapters")
    model = make_model(directory / "tiny")
    list_file = directory / "adapters.json"
    list_file.write_text(AdapterList().to_json())
    settings = {"MAX_CONTEXT_LENGTH": "512", "ENGINE_MAX_NUM_SEQS": "32", "ADAPTERS": str(list_file)}
    with ExitStack() as stack:
        engines = []
        for index in range(2):
            place = directory / f"replica-{index}"
            place.mkdir()
            engines.append(stack.enter_context(Engine(place, model, VLLM_CACHE_ROOT=str(place / "cache"), **settings)))
        for engine in engines:
            engine.wait_until_ready()
        head = read_tensor(model, "lm_head.weight")
        yield Fleet(engines, list_file, directory, head, distinct_pairs(model, head, FIRST_TOKEN))


@dataclass
class Clients:
    """They ask every replica for every name, again and again."""

    fleet: Fleet
    right: dict[str, set[int]]
    """The tokens that an answer under each name may have now. Adapters of a changing name may both answer."""
    answered: int = 0
    wrong: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self, engine: Engine) -> None:
        while not self.stopped.is_set():
            for name, before in list(self.right.items()):
                try:
                    found = self.fleet.tokens_of(engine, name)
                except Exception as error:
                    self.wrong.append(f"{name}: {error!r}")
                    continue
                if not found <= (before | self.right.get(name, set())):
                    self.wrong.append(f"{name}: {found} in place of {before}")
                self.answered += 1


@contextmanager
def asked(fleet: Fleet, right: dict[str, set[int]]) -> Iterator[Clients]:
    clients = Clients(fleet, right)
    threads = [threading.Thread(target=clients.run, args=(engine,)) for engine in fleet.engines for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        clients.stopped.set()
        for thread in threads:
            thread.join()


def test_ten_adapters_change_under_load(fleet: Fleet) -> None:
    pids = [engine.processes() for engine in fleet.engines]
    now = {f"team/{index}": fleet.make(f"{index}-first") for index in range(ADAPTERS)}
    fleet.set_list(now)
    fleet.wait_until_serving(now)
    begun = time.monotonic()
    with asked(fleet, {name: fleet.tokens[source] for name, source in now.items()}) as clients:
        for index in range(ADAPTERS):
            name = f"team/{index}"
            changed = fleet.make(f"{index}-second")
            clients.right[name] = fleet.tokens[now[name]] | fleet.tokens[changed]
            now = now | {name: changed}
            fleet.set_list(now)
            fleet.wait_until_serving(now)
            for engine in fleet.engines:
                assert fleet.tokens_of(engine, name) <= fleet.tokens[changed], "a changed adapter answers"
            clients.right[name] = fleet.tokens[changed]
    seconds = time.monotonic() - begun
    assert clients.wrong == []
    assert clients.answered > 2 * ADAPTERS
    assert [engine.processes() & before for engine, before in zip(fleet.engines, pids, strict=True)] == pids
    print(
        f"{ADAPTERS} adapters changed on {len(fleet.engines)} replicas in {seconds:.0f} s: {clients.answered} answers, "
        f"{len(clients.wrong)} wrong or failed, 0 restarts"
    )


def test_listed_by_its_name_and_source(fleet: Fleet) -> None:
    source = fleet.make("listed")
    fleet.set_list({"listed": source})
    fleet.wait_until_serving({"listed": source})
    with urllib.request.urlopen(f"http://127.0.0.1:{fleet.engines[0].port}/v1/models", timeout=30) as answer:
        cards = {each["id"]: each for each in json.load(answer)["data"]}
    assert set(cards) == {"tiny", "listed"}
    assert (cards["listed"]["root"], cards["listed"]["parent"]) == (source, "tiny")


def test_removed_adapter_is_no_model(fleet: Fleet) -> None:
    source = fleet.make("removed")
    fleet.set_list({"removed": source})
    fleet.wait_until_serving({"removed": source})
    fleet.set_list({})
    fleet.wait_until_serving({})
    with pytest.raises(urllib.error.HTTPError) as error:
        fleet.engines[0].complete(PROMPT, model="removed")
    assert error.value.code == 404


def test_one_that_fails_says_why_and_others_stay(fleet: Fleet) -> None:
    good = fleet.make("good")
    large = write_adapter(fleet.directory / "large", [[0.0] * 512] * 32, [[0.0] * 32] * 256)
    wide = write_adapter(fleet.directory / "wide", [[0.0] * 512], [[0.0]] * 128)
    deep = write_adapter(fleet.directory / "deep", [[0.0] * 512], [[0.0]] * 256, "model.layers.7.mlp.down_proj")
    other = write_adapter(fleet.directory / "other", [[0.0] * 512], [[0.0]] * 256, "model.layers.0.mlp.router")
    pickled = fleet.directory / "pickled"
    pickled.mkdir()
    (pickled / "adapter_config.json").write_text("{}")
    (pickled / "adapter_model.bin").write_bytes(b"\x80")
    now = {
        "good": good,
        "large": str(large),
        "wide": str(wide),
        "deep": str(deep),
        "other": str(other),
        "pickled": str(pickled),
        "absent": str(fleet.directory / "absent"),
    }
    fleet.set_list(now)
    wait_until(
        lambda: all(
            set(report) == set(now) and all(each["state"] != "Loading" for each in report.values())
            for report in fleet.reports()
        ),
        120,
    )
    for report in fleet.reports():
        assert {name: each.get("reason") for name, each in report.items()} == {
            "good": None,
            "large": "AdapterRankTooLarge",
            "wide": "AdapterDoesNotFit",
            "deep": "AdapterDoesNotFit",
            "other": "AdapterDoesNotFit",
            "pickled": "AdapterUnsafe",
            "absent": "AdapterNotFound",
        }
        assert report["large"]["message"].startswith("its rank is 32, but spec.engine.maxLoraRank is 16.")
    for engine in fleet.engines:
        assert fleet.tokens_of(engine, "good") <= fleet.tokens[good]


def test_failing_change_keeps_what_is_served(fleet: Fleet) -> None:
    source = fleet.make("kept")
    fleet.set_list({"kept": source})
    fleet.wait_until_serving({"kept": source})
    fleet.set_list({"kept": str(fleet.directory / "nowhere")})
    wait_until(lambda: all(report["kept"]["state"] == "Failed" for report in fleet.reports()), 60)
    assert all("serving" in report["kept"] for report in fleet.reports())
    assert fleet.tokens_of(fleet.engines[0], "kept") <= fleet.tokens[source]


def test_clients_cannot_load_adapters(fleet: Fleet) -> None:
    body = json.dumps({"lora_name": "mine", "lora_path": str(fleet.directory)}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{fleet.engines[0].port}/v1/load_lora_adapter", body, {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=30)
    assert error.value.code in (401, 403, 404)
