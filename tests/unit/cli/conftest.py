"""`kubectl llm` in this process, with a kubeconfig that leads to a stand-in for the API server."""

import base64
import dataclasses
import datetime
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from llmservice_contract.keys import DEFAULT_TIER, Role, StoredKey, make_key
from llmservice_operator.cli.main import main
from llmservice_operator.cli.system import System
from support.fake_api import serving
from unit.cli.done import Done
from unit.cli.person import Person
from unit.cli.planning import PlanningAPI
from unit.cli.user_api import UserAPI

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC)


@dataclasses.dataclass
class Terminal:
    """A person with a kubeconfig, whose current context is in the namespace team-a."""

    api: UserAPI
    kubeconfig: Path
    run: Callable[..., Done]
    """`kubectl llm keys ...`, given as one text; another ``group`` of commands instead of keys."""
    waits: list[float]

    def keys(self) -> dict[str, dict[str, str]]:
        """The entries of the Secret, decoded."""
        return {name: json.loads(base64.b64decode(value)) for name, value in self.api.secret()["data"].items()}

    def holds(self, *keys: StoredKey, **entries: str) -> None:
        """Make a Secret with these keys and entries."""
        texts = {**{key.id: key.entry() for key in keys}, **entries}
        data = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
        self.api.place("Secret", "team-a", "chat-keys", data=data)


def stored(number: int, tier: str = DEFAULT_TIER, role: Role = Role.CLIENT) -> StoredKey:
    """A key that is always the same for the same number."""
    return make_key(bytes([number]) * 40, tier, role)[1]


def write_kubeconfig(path: Path, server: str, current: str = "here") -> Path:
    """A kubeconfig with the contexts here (team-a), there (team-b) and bare (no namespace)."""
    contexts = {"here": "team-a", "there": "team-b", "bare": ""}
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": current,
                "clusters": [{"name": "fake", "cluster": {"server": server}}],
                "users": [{"name": "me", "user": {"token": "t"}}],
                "contexts": [
                    {"name": name, "context": {"cluster": "fake", "user": "me", **({"namespace": at} if at else {})}}
                    for name, at in contexts.items()
                ],
            }
        )
    )
    return path


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Terminal]:
    """A service `chat` in team-a that names the Secret chat-keys, which does not exist. An unexpected request fails."""
    api = UserAPI()
    api.place("LLMService", "team-a", "chat", spec={"access": {"apiKeys": {"secretRef": {"name": "chat-keys"}}}})
    waits: list[float] = []

    def run(line: str, group: Sequence[str] = ("keys",)) -> Done:
        now = lambda: NOW + datetime.timedelta(seconds=sum(waits))  # noqa: E731
        status = main([*group, *line.split()], System(now=now, sleep=waits.append))
        return Done(status, *capfd.readouterr())

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(api) as url:
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", url)
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        yield Terminal(api, kubeconfig, run, waits)


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Person]:
    """A user with a service at rest. An unexpected request fails."""
    api = PlanningAPI()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(api) as url:
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", url)))
        yield Person(api, tmp_path, capfd)
