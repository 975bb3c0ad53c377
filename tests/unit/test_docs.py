"""The pages under docs/ name only reasons, fields and commands that exist."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmservice_operator.api.crd import DEFINITIONS, root_schema
from llmservice_operator.api.status import Finding
from llmservice_operator.cli.commands import COMMANDS, parser_of
from llmservice_operator.planner.report import reasons
from llmservice_operator.planner.status.conditions import CONDITIONS

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
FAILURES = (ROOT / "docs" / "failures.md").read_text()
PAGES = {page.stem: page.read_text() for page in (ROOT / "docs" / "operations").glob("*.md")}
RUNBOOKS = sorted(f"alerts/{page.stem}" for page in (ROOT / "docs" / "operations" / "alerts").glob("*.md"))
REASONS = {row.name for row in reasons.TABLE.values() if row.reported_as == row.name}
REPORTED = REASONS - {reasons.VOLUME_NOT_READY}
"""Without the category that is never reported as such."""
WELL = {row.name for row in reasons.TABLE.values() if row.good}
EXPECTED = {row.name for row in reasons.TABLE.values() if row.expected}
UNKNOWN = {"GPUUnknown", "NotModelled", "WeightsUnexplained", "EstimateFailed"}
STATES = EXPECTED | UNKNOWN | {"RolledBack", "RolloutFailed"}
"""Reasons of a service in progress, of a rollout that names its cause, or of an unknown result."""
FINDINGS = REPORTED - WELL - STATES
"""Reasons that a finding can have."""
SCHEMAS = [root_schema(each) for each in DEFINITIONS.values()]
FIELD = re.compile(r"\b(?:spec|status)(?:\.[A-Za-z]+)+")


def row(reason: str) -> str:
    """How the row of a reason begins."""
    return f"| [`{reason}`](operations/{reason}.md) |" if reason in FINDINGS else f"| `{reason}` |"


@pytest.mark.parametrize("reason", sorted(REPORTED - WELL - {reasons.APPLY_FAILED}))
def test_every_reason_is_explained(reason: str) -> None:
    assert row(reason) in OPERATIONS, f"docs/operations.md has no row {row(reason)}"


def test_a_reason_stands_in_the_section_of_a_condition_that_can_have_it() -> None:
    sections = re.split(r"^## (.+)\n", OPERATIONS, flags=re.MULTILINE)
    seen = 0
    for name, text in zip(sections[1::2], sections[2::2], strict=True):
        if name not in {each.type for each in CONDITIONS}:
            continue
        for reason in re.findall(r"^\| \[?`(\w+)`", text, re.MULTILINE):
            seen += 1
            assert name in reasons.of(reason).conditions, f"{reason} stands below {name}"
    assert seen > 100


def test_every_reason_of_a_finding_has_a_page_and_no_page_is_of_another() -> None:
    assert PAGES.keys() == FINDINGS


@pytest.mark.parametrize("reason", sorted(PAGES))
def test_a_page_has_an_example_cause_certainty_diagnosis_and_fix(reason: str) -> None:
    page = PAGES[reason]
    assert page.startswith(f"# {reason}\n")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    shown = Finding.model_validate(yaml.safe_load(example))
    assert shown.reason == reason
    for part in ("Cause", "Certainty", "Diagnosis", "Fix"):
        assert f"**{part}.**" in page
    assert f"**Certainty.** {shown.certainty}" in page or "As sure as" in page


@pytest.mark.parametrize(
    "page", [*sorted(PAGES), *RUNBOOKS, "../operations", "../failures", "../catalogue", "../dashboards"]
)
def test_pages_name_fields_that_there_are(page: str) -> None:
    text = (ROOT / "docs" / "operations" / f"{page}.md").read_text()
    unknown = {
        path for path in FIELD.findall(text) if not any(_is_field(schema, path.split(".")) for schema in SCHEMAS)
    }
    pods = {
        "spec.containers",
        "spec.template.spec.containers",
        "spec.nodeName",
        "spec.priority",
        "spec.taints",
        "status.allocatable",
    }
    assert not unknown - pods, f"{page}.md names what is no field: {sorted(unknown)}"


def _is_field(schema: Any, path: list[str]) -> bool:
    while path:
        schema = schema.get("items", schema)
        if path[0] not in schema.get("properties", {}):
            return "additionalProperties" in schema
        schema = schema["properties"][path[0]]
        path = path[1:]
    return True


def test_the_forty_failures_are_forty_and_their_reasons_have_pages() -> None:
    rows = re.findall(
        r"^\| ([0-9]+) \|.*?\| (node|text|API|kwok) \| (.*?) \| (Certain|Likely) \|", FAILURES, re.MULTILINE
    )
    assert [int(number) for number, *_ in rows] == list(range(1, 41))
    named = {reason for *_, reasons_of, _ in rows for reason in re.findall(r"`(\w+)`", reasons_of)}
    assert named <= PAGES.keys()
    assert sum(sure == "Certain" for *_, sure in rows) >= 30


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        named = set(re.findall(r"`make ([a-z0-9-]+)", page.read_text()))
        assert named <= targets, f"{page.name} names make targets that are not there: {sorted(named - targets)}"


def test_every_package_of_the_project_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = {re.split(r"[<>=!\[; ]", each)[0].lower().replace("_", "-") for each in wanted}
    pinned = {line.split("==")[0] for line in (ROOT / "hack/requirements-dev.txt").read_text().splitlines()}
    assert names <= pinned, f"run `make lock`: hack/requirements-dev.txt lacks {sorted(names - pinned)}"


def test_every_file_that_the_architecture_page_names_exists() -> None:
    roots = [ROOT, *(ROOT / part for part in ("operator/llmservice_operator", "runtime", "runtime/llmservice_runtime"))]
    gateway = ROOT / "runtime" / "llmservice_runtime" / "gateway"
    diagnosis = ROOT / "runtime" / "llmservice_runtime" / "diagnosis"
    for page in ("docs/architecture.md", "CONTRIBUTING.md"):
        named = set(re.findall(r"`([\w/]+\.py|\w+/[\w/]*/)`", (ROOT / page).read_text()))
        folders = [*roots, gateway, diagnosis, *(roots[1] / part for part in ("controller", "resources"))]
        unknown = {name for name in named if not any((folder / name).exists() for folder in folders)}
        assert named and not unknown, f"{page} names files that do not exist: {sorted(unknown)}"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_a_page_starts_with_a_sentence_about_its_purpose(page: Path) -> None:
    title, blank, first = page.read_text().splitlines()[:3]
    assert title.startswith("# ") and not blank
    assert re.match(r"[A-Z`].*\w", first), f"docs/{page.name} starts with {first!r} and not with its purpose"


TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "hack" / "cluster" / "README.md"]
TEXTS += [page for page in sorted((ROOT / "docs").rglob("*.md")) if "design" not in page.parts]
BLOCKS = re.compile(r"^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
FILES = re.compile(r"(?<![\w/.-])((?:hack|charts|manifests|tests|crds|docs|operator|runtime)/[\w/.-]*\w)(?![\w*-])")
PLACEHOLDER = re.compile("VERSION|REASON")


def commands_of(text: str) -> Iterator[list[str]]:
    """The words of each `kubectl llm` command in the code blocks of a page."""
    for block in BLOCKS.findall(text):
        for command in re.findall(r"kubectl llm ([a-z](?:[^\n|;)#>`]|\\\n)*)", block):
            yield shlex.split(command.replace("\\\n", " ").replace("2>&1", ""))


def test_commands_of_kubectl_llm_that_pages_show_are_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    seen = 0
    for page in TEXTS:
        for words in commands_of(page.read_text()):
            seen += 1
            try:
                parser_of(words).parse_args(words)
            except SystemExit:
                pytest.fail(f"{page.name}: kubectl llm {shlex.join(words)}: {capsys.readouterr().err}")
    assert seen > 15


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_kubectl_llm_that_a_page_names_exist(page: Path) -> None:
    named = set(re.findall(r"`kubectl llm ([a-z][a-z-]*)", page.read_text()))
    assert named <= {command.name for command in COMMANDS}


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_of_the_repository_that_a_page_names_exist(page: Path) -> None:
    named = set(FILES.findall(page.read_text()))
    assert [name for name in sorted(named) if not (ROOT / name).exists() and not PLACEHOLDER.search(name)] == []
