"""Serves the LoRA adapters of the list in ADAPTERS, and follows its changes while vLLM runs.

Each version of an adapter has a number and a name of its own in the engine, because vLLM tells adapters of one batch,
and cached prefixes, apart by their names. Clients see the name of the list. A version that is replaced or removed gets
no new requests; requests that it answers end with it. Its files and its memory are freed when they have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from llmservice_contract import engine_settings as rows
from llmservice_contract.adapters import (
    MOST_BYTES,
    MOST_BYTES_OF_ALL,
    Adapter,
    AdapterReport,
    AdapterState,
    BadAdapters,
    lora_rank,
    read_adapters,
)
from llmservice_contract.source import Repository, parse_source
from llmservice_runtime.adapters.refused import DOES_NOT_FIT, UNREACHABLE
from llmservice_runtime.adapters.request import FETCH_SECONDS, FetchRequest, FetchResult
from llmservice_runtime.gateway.files import fingerprint
from llmservice_runtime.launcher.settings import Settings

EVERY_SECONDS = 1.0
RETRY_SECONDS = (15.0, 30.0, 60.0, 120.0, 300.0)
"""After how long a failed adapter is tried again, by the number of its failures; the last one holds on."""
READY_SECONDS = 300.0
"""How long a replica is not ready because adapters of its list are loading."""
MARGIN_SECONDS = 60.0
MOST_LIST_BYTES = 1024 * 1024 + 1
LONGEST_TEXT = 400
VERSION = "@"
"""Between the name and the digest in the engine's name of a version. No name of the list has it."""


@dataclass(slots=True)
class _Served:
    """A version that the engine has."""

    adapter: Adapter
    digest: str
    number: int
    engine_name: str
    path: Path


@dataclass(slots=True)
class _Failed:
    adapter: Adapter
    reason: str
    message: str
    times: int
    retry_at: float


@dataclass(slots=True)
class _Retired:
    version: _Served
    free_at: float


class Adapters:
    """The adapters of one vLLM server. `models` is vLLM's table of served models."""

    def __init__(
        self,
        models: Any,
        engine_client: Any,
        path: Path,
        directory: Path,
        request: FetchRequest,
        drain_seconds: float,
        say: Callable[[str], None],
    ) -> None:
        self._models = models
        self._engine = engine_client
        self._path = path
        self._directory = directory
        self._request = request
        self._drain_seconds = drain_seconds
        self._say = say
        self._wanted: tuple[Adapter, ...] = ()
        self._seen: object = None
        self._served: dict[str, _Served] = {}
        self._failed: dict[str, _Failed] = {}
        self._retired: list[_Retired] = []
        self._numbers = 0
        self._is_settled = False
        self._begun = time.monotonic()
        self._told = ""
        self._show_names()

    @property
    def not_ready(self) -> str | None:
        """Why this pod should not get requests yet; None if it should."""
        if self._is_settled or time.monotonic() - self._begun > READY_SECONDS:
            return None
        return f"Adapters are loading: {len(self._served)} of {len(self._wanted)} are served."

    def report(self) -> bytes:
        """What the metrics port says about them, as JSON. May be called in another thread."""
        return msgspec.json.encode([self._report(each) for each in self._wanted])

    async def run(self) -> None:
        """Follows the list until it is cancelled."""
        shutil.rmtree(self._directory, ignore_errors=True)
        while True:
            try:
                await self._follow()
            except Exception as error:  # the next look may succeed, and the served ones stay
                self._tell(f"The adapters were not looked at: {type(error).__name__}: {one_line(error)}.")
            await asyncio.sleep(EVERY_SECONDS)

    async def _follow(self) -> None:
        self._take_list()
        for adapter in sorted(self._wanted, key=lambda each: each.name in self._failed):
            if self._is_due(adapter):
                await self._load(adapter)
                self._take_list()
                if adapter not in self._wanted:
                    return
        self._is_settled = self._is_settled or self._seen is not None
        await self._free()

    def _take_list(self) -> None:
        """Reads the list if it changed, and retires what it no longer has."""
        self._read()
        names = {each.name for each in self._wanted}
        for name in [name for name in self._served if name not in names]:
            self._retire(name)
        self._failed = {name: failed for name, failed in self._failed.items() if name in names}

    def _read(self) -> None:
        seen = fingerprint(self._path)
        if seen == self._seen:
            return
        try:
            with self._path.open("rb") as file:
                self._wanted = read_adapters(file.read(MOST_LIST_BYTES))
            self._seen = seen
        except (OSError, BadAdapters) as error:
            self._tell(f"{self._path}: {one_line(error)}. The list that was read before stays in effect.")

    def _is_due(self, adapter: Adapter) -> bool:
        served, failed = self._served.get(adapter.name), self._failed.get(adapter.name)
        if failed is not None and failed.adapter == adapter:
            return time.monotonic() >= failed.retry_at
        return served is None or served.adapter != adapter

    async def _load(self, adapter: Adapter) -> None:
        place = self._directory / sha256(f"{adapter}{time.monotonic()}".encode()).hexdigest()[:32]
        fetching = asyncio.ensure_future(self._fetch(adapter, place))
        try:
            # A source may take long, and the list does not wait for it.
            while not (await asyncio.wait({fetching}, timeout=EVERY_SECONDS))[0]:
                self._take_list()
                if adapter not in self._wanted:
                    return
        finally:
            fetching.cancel()
        result = await fetching
        before = self._served.get(adapter.name)
        if result.digest and before is not None and before.digest == result.digest:
            before.adapter = adapter  # the same weights from elsewhere
            shutil.rmtree(place, ignore_errors=True)
        elif result.digest:
            result = await self._serve(adapter, result.digest, place)
        if not result.digest:
            self._fail(adapter, result)
            return
        self._failed.pop(adapter.name, None)

    async def _fetch(self, adapter: Adapter, place: Path) -> FetchResult:
        """Runs the process that fetches and checks it."""
        used = sum(_size(each.path) for each in [*self._served.values(), *(each.version for each in self._retired)])
        most = max(0, min(MOST_BYTES, MOST_BYTES_OF_ALL - used))
        asked = msgspec.structs.replace(self._request, adapter=adapter, into=str(place), most=most)
        environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
        with contextlib.suppress(ValueError):
            source = parse_source(adapter.source)
            if isinstance(source, Repository) and source.endpoint is not None:
                environment["HF_ENDPOINT"] = source.endpoint
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "llmservice_runtime.adapters",
            msgspec.json.encode(asked).decode(),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                output, _ = await process.communicate()
            return msgspec.json.decode(output.strip().rsplit(b"\n", 1)[-1], type=FetchResult)
        except TimeoutError:
            return FetchResult(reason=UNREACHABLE, message=f"it was not fetched within {FETCH_SECONDS} s.")
        except msgspec.MsgspecError:
            said = f"the process that fetches it ended with exit code {process.returncode}; see the log."
            return FetchResult(reason=UNREACHABLE, message=said)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _serve(self, adapter: Adapter, digest: str, place: Path) -> FetchResult:
        from vllm.lora.request import LoRARequest

        self._numbers += 1
        # With its number, because a version that returns may still be in use from before.
        engine_name = f"{adapter.name}{VERSION}{digest[:12]}.{self._numbers}"
        version = _Served(adapter, digest, self._numbers, engine_name, place)
        asked = LoRARequest(lora_name=engine_name, lora_int_id=version.number, lora_path=str(place))
        try:
            await self._engine.add_lora(asked)
        except Exception as error:
            with contextlib.suppress(Exception):
                await self._engine.remove_lora(version.number)
            shutil.rmtree(place, ignore_errors=True)
            return FetchResult(reason=DOES_NOT_FIT, message=f"vLLM does not load it: {one_line(error)}.")
        if adapter.name in self._served:
            self._retire(adapter.name)
        self._served[adapter.name] = version
        self._models.lora_requests[adapter.name] = asked
        self._say(f"adapter {adapter.name} is served from {adapter.source} (sha256 {digest[:12]}).")
        return FetchResult(digest=digest)

    def _fail(self, adapter: Adapter, result: FetchResult) -> None:
        before = self._failed.get(adapter.name)
        times = before.times + 1 if before is not None and before.adapter == adapter else 1
        wait = RETRY_SECONDS[min(times, len(RETRY_SECONDS)) - 1]
        self._failed[adapter.name] = _Failed(adapter, result.reason, result.message, times, time.monotonic() + wait)
        if times == 1:
            self._say(f"adapter {adapter.name} is not served from {adapter.source}: {result.reason}: {result.message}")

    def _retire(self, name: str) -> None:
        """Takes it away from new requests."""
        version = self._served.pop(name)
        self._models.lora_requests.pop(name, None)
        self._retired.append(_Retired(version, time.monotonic() + self._drain_seconds + MARGIN_SECONDS))
        self._say(f"adapter {name} (sha256 {version.digest[:12]}) gets no more requests.")

    async def _free(self) -> None:
        """Frees versions whose last request has ended. A request that has not reached the engine yet is waited for as
        long as a request may take."""
        now = time.monotonic()
        states = getattr(getattr(self._engine, "output_processor", None), "request_states", {})
        for retired in [each for each in self._retired if each.free_at <= now]:
            version = retired.version
            if any(getattr(state, "lora_name", None) == version.engine_name for state in list(states.values())):
                continue
            await self._engine.remove_lora(version.number)
            shutil.rmtree(version.path, ignore_errors=True)
            self._retired.remove(retired)

    def _show_names(self) -> None:
        """Answers and GET /v1/models show the names of the list, and no path of the container."""
        model_name, listed = self._models.model_name, self._models.show_available_models

        def shown(lora_request: Any = None) -> Any:
            return model_name() if lora_request is None else lora_request.lora_name.partition(VERSION)[0]

        async def models() -> Any:
            found = await listed()
            for card in found.data:
                name, version, _ = card.id.partition(VERSION)
                if version:
                    served = self._served.get(name)
                    card.id, card.root = name, served.adapter.source if served is not None else name
            return found

        self._models.model_name, self._models.show_available_models = shown, models

    def _report(self, adapter: Adapter) -> AdapterReport:
        served, failed = self._served.get(adapter.name), self._failed.get(adapter.name)
        state = AdapterState.LOADING
        if served is not None and served.adapter == adapter:
            state, failed = AdapterState.READY, None
        elif failed is not None and failed.adapter == adapter:
            state = AdapterState.FAILED
        else:
            failed = None
        return AdapterReport(
            adapter.name,
            adapter.source,
            state,
            adapter.revision,
            served.digest if served is not None else None,
            failed.reason if failed is not None else None,
            failed.message if failed is not None else None,
        )

    def _tell(self, fault: str) -> None:
        if fault != self._told:
            self._say(fault)
        self._told = fault


def one_line(error: BaseException) -> str:
    """The text of `error` for the middle of a sentence."""
    return " ".join(str(error).split())[:LONGEST_TEXT].rstrip(".") or type(error).__name__


def _size(directory: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(each.stat().st_size for each in directory.iterdir())
    return 0


def make(state: Any, engine_client: Any, settings: Settings, say: Callable[[str], None]) -> Adapters:
    """The adapters of vLLM's server with this state."""
    values = settings.values
    config = state.vllm_config.model_config
    text: Any = config.hf_text_config
    request = FetchRequest(
        Adapter("", ""),
        "",
        0,
        lora_rank(values[rows.MAX_LORA_RANK]),
        _whole(getattr(text, "hidden_size", None)),
        _whole(getattr(text, "num_hidden_layers", None)),
        str(config.model),
        config.revision,
    )
    directory = (
        Path(os.environ.get("VLLM_CACHE_ROOT") or Path.home() / ".cache" / "vllm") / f"adapters-{values[rows.PORT]}"
    )
    return Adapters(
        state.openai_serving_models,
        engine_client,
        Path(values[rows.ADAPTERS]),
        directory,
        request,
        values[rows.DRAIN_SECONDS],
        say,
    )


def _whole(value: Any) -> int | None:
    return value if type(value) is int and value > 0 else None
