"""What hack/suite repeats, and what it reports."""

import importlib.machinery
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def suite() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("suite", str(ROOT / "hack/suite"))
    spec = importlib.util.spec_from_loader("suite", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


class Runs:
    """Runs of pytest: each fails the given tests."""

    def __init__(self, *failing: list[str], code: int = 1) -> None:
        self._failing = list(failing)
        self._code = code
        self.arguments: list[list[str]] = []

    def __call__(self, arguments: list[str]) -> int:
        self.arguments.append(arguments)
        failing = self._failing.pop(0)
        for each in arguments:
            if each.startswith("cache_dir="):
                path = Path(each.removeprefix("cache_dir=")) / "v/cache/lastfailed"
                path.parent.mkdir(parents=True)
                path.write_text(json.dumps(dict.fromkeys(failing, True)))
        return self._code if failing else 0


@pytest.mark.parametrize(
    ("failing", "code", "repeated"),
    [
        ([[]], 0, None),
        ([["a.py::one@group/a.py"], []], 0, ["a.py::one"]),
        ([["a.py::one[x@y]", "a.py::two[z]@b"], []], 0, ["a.py::one[x@y]", "a.py::two[z]"]),
        ([["a.py::one"], ["a.py::one"]], 1, ["a.py::one"]),
        ([["1", "2", "3", "4"]], 1, None),
    ],
)
def test_few_failures_are_repeated_once(
    suite: ModuleType,
    failing: list[list[str]],
    code: int,
    repeated: list[str] | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    runs = Runs(*failing)
    log = tmp_path / "unstable"
    monkeypatch.setenv("UNSTABLE_LOG", str(log))
    monkeypatch.setattr(suite, "pytest", runs)
    assert suite.main(["-n", "3", "tests"]) == code
    assert [arguments[1:] for arguments in runs.arguments[1:]] == ([] if repeated is None else [repeated])
    written = log.read_text().split() if log.exists() else []
    assert written == ((repeated or []) if code == 0 else [])


def test_an_error_in_collecting_tests_repeats_nothing(suite: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs(["a.py"], code=2)
    monkeypatch.setattr(suite, "pytest", runs)
    assert suite.main(["tests"]) == 2
    assert len(runs.arguments) == 1
