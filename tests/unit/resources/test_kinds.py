"""One table of kinds: all that is rendered, streamed and read stands there, and no other list repeats it."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.cases import CASES
from llmservice_operator.planner.model import drift
from llmservice_operator.resources import kinds
from llmservice_operator.resources.platform import Adapter
from unit.resources.test_golden import rendered

ROOT = Path(__file__).parents[3]
MOST_KINDS_IN_A_LITERAL = 3
"""A decision may be about some kinds; more of them are a list that the table has already."""


def test_names_are_unique_and_each_row_is_in_the_table() -> None:
    rows = [value for value in vars(kinds).values() if isinstance(value, kinds.Kind)]
    assert Counter(rows) == Counter(kinds.TABLE)
    assert len({row.kind for row in rows}) == len({(row.group, row.plural) for row in rows}) == len(rows)
    assert all(kinds.named(row.kind) is kinds.kind_of(row.api_version, row.kind) is row for row in rows)


@pytest.mark.parametrize("case", CASES)
def test_what_is_rendered_is_of_a_kind_of_the_table(case: str) -> None:
    for child in rendered(CASES[case]):
        assert kinds.kind_of(child["apiVersion"], child["kind"]).rendered


def test_services_their_children_and_the_catalogue_are_streamed_and_nothing_else() -> None:
    streamed = {row for row in kinds.TABLE if "watch" in row.verbs}
    whole = {kinds.LLMSERVICE, *kinds.CATALOGUE, *kinds.CHILDREN}
    assert streamed == whole == set(kinds.watched(Adapter.KEDA, gateway_api=True))
    in_namespaces = kinds.watched(Adapter.KEDA, gateway_api=True, whole_cluster=False)
    assert streamed - set(in_namespaces) == {kinds.CLUSTER_LLM_MODEL}
    without = set(kinds.watched(Adapter.KEDA))
    assert streamed - without == {kinds.HTTP_ROUTE, kinds.INFERENCE_POOL}
    assert without - set(kinds.watched(Adapter.OWN)) == {kinds.SCALED_OBJECT}


def test_children_that_are_rendered_are_shown_and_go_when_nothing_needs_them() -> None:
    applied = {row.kind for row in kinds.TABLE if row.rendered}
    inspections = {"Job"}  # deleted once their result is known
    assert set(kinds.PRUNED) == set(kinds.SHOWN) == applied - inspections
    assert all("delete" in row.verbs for row in kinds.CHILDREN)


def test_how_lists_and_fields_are_compared_follows_from_the_kinds() -> None:
    assert drift.LIST_KEYS["ports"] == ("containerPort", "port", "protocol")
    assert drift.LIST_KEYS["volumeMounts"] == ("mountPath",)
    wanted = {"spec": {"ingress": [{"ports": [{"port": 80}]}]}}
    opened = {"spec": {"ingress": [{"ports": [{"port": 80}, {"port": 81}]}]}}
    assert drift.within(wanted, wanted) and not drift.within(wanted, opened)


@pytest.mark.parametrize(
    ("path", "where"),
    [
        (kinds.NODE.path(name="a"), "/api/v1/nodes/a"),
        (kinds.POD.path("team-a"), "/api/v1/namespaces/team-a/pods"),
        (kinds.STATEFULSET.path(), "/apis/apps/v1/statefulsets"),
        (
            kinds.LLMSERVICE.path("team-a", "chat", "status"),
            "/apis/llmservice.dev/v1alpha1/namespaces/team-a/llmservices/chat/status",
        ),
    ],
)
def test_paths_are_those_of_the_api_server(path: str, where: str) -> None:
    assert path == where


def test_the_table_costs_a_command_of_kubectl_llm_nothing() -> None:
    code = "import sys; import llmservice_operator.resources.kinds; print({'pydantic', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "set()\n"


def lists_of_kinds(file: Path) -> Iterator[int]:
    """Lines of literals that name many kinds of children."""
    known = {row.kind for row in kinds.CHILDREN} | {row.plural for row in kinds.CHILDREN}
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
            entries = node.keys if isinstance(node, ast.Dict) else node.elts
            named = {each.value for each in entries if isinstance(each, ast.Constant)}
            if len(named & known) > MOST_KINDS_IN_A_LITERAL:
                yield node.lineno


def test_no_other_list_of_kinds_is_in_the_product_or_in_what_tests_share() -> None:
    files = [
        *(ROOT / "operator").rglob("*.py"),
        *(ROOT / "hack").rglob("*.py"),
        *(each for each in (ROOT / "tests").rglob("*.py") if not each.name.startswith("test_")),
    ]
    assert ROOT / "operator/llmservice_operator/resources/kinds.py" in files
    found = [f"{file.relative_to(ROOT)}:{line}" for file in files for line in lists_of_kinds(file)]
    assert not found, f"these lists repeat render/kinds.py: {found}"
