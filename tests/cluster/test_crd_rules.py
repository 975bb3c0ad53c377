"""Every CEL rule of the CRD on a real API server: what it just refuses, and the nearest that it accepts.

The cases are held against the schema: a rule without a case fails the run.
"""

from collections.abc import Mapping

import pytest

from builders.refusals import CASES, Case
from support.cluster import Cluster
from support.schema import rules


def rules_of(case: Case) -> list[Mapping[str, str]]:
    return [rule for node, rule in rules() if str(node) == case.at and rule["message"].startswith(case.says)]


def test_every_rule_has_a_case() -> None:
    covered = {(case.at, rule["message"]) for case in CASES for rule in rules_of(case)}
    missing = [f"{node}: {rule['message']}" for node, rule in rules() if (str(node), rule["message"]) not in covered]
    assert not missing, f"add a Case for each of these rules: {missing}"


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rule(cluster: Cluster, shared_namespace: str, case: Case) -> None:
    (rule,) = rules_of(case)
    refused = cluster.create(shared_namespace, case.refused.build(), dry_run=True)
    assert refused.status == 422, "accepted, against the rule"
    assert [rule["message"] in cause["message"] for cause in refused.causes] == [True], refused.message
    (cause,) = refused.causes
    if rule.get("fieldPath"):
        assert cause["field"].endswith(rule["fieldPath"])

    accepted = cluster.create(shared_namespace, case.accepted.build(), dry_run=True)
    assert accepted.ok, accepted.message
