"""Why the API server refuses pods because of CPU, memory and disk: the field that would help exists in the CRD."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from llmservice_operator.planner.diagnosis import admission

ROOT = Path(__file__).parents[4]
LIMIT_OF_CPU = 'Invalid value: "2": must be less than or equal to cpu limit of 500m'
INVALID = 'Pod "chat-0" is invalid: spec.containers[0].resources.requests: '
FORBIDDEN = 'pods "chat-0" is forbidden: '

REFUSED: list[tuple[str, str, str]] = [
    (f"{INVALID}{LIMIT_OF_CPU}", "LimitExceeded", "cpuLimit"),
    (f'{INVALID}Invalid value: "8Gi": must be less than or equal to memory limit of 1Gi', "LimitExceeded", "memory"),
    (
        f'{INVALID}Invalid value: "1Gi": must be less than or equal to ephemeral-storage limit of 1Mi',
        "LimitExceeded",
        "ephemeralStorage",
    ),
    (f"{FORBIDDEN}failed quota: q: must specify limits.cpu for: engine", "QuotaExceeded", "cpuLimit"),
    (
        f"{FORBIDDEN}failed quota: q: must specify limits.cpu for: engine; limits.memory for: engine",
        "QuotaExceeded",
        "cpuLimit",
    ),
    (f"{FORBIDDEN}failed quota: q: must specify limits.memory for: engine", "QuotaExceeded", "memory"),
    (
        f"{FORBIDDEN}failed quota: q: must specify limits.ephemeral-storage for: engine",
        "QuotaExceeded",
        "ephemeralStorage",
    ),
    (f"{FORBIDDEN}maximum cpu usage per Container is 2, but limit is 4", "LimitExceeded", "cpuLimit"),
    (f"{FORBIDDEN}maximum cpu usage per Pod is 2.  No limit is specified", "LimitExceeded", "cpuLimit"),
    (
        f"{FORBIDDEN}cpu max limit to request ratio per Container is 2, but provided ratio is 8.000000",
        "LimitExceeded",
        "cpuLimit",
    ),
    (f"{FORBIDDEN}minimum cpu usage per Container is 4, but request is 1", "LimitExceeded", "cpu"),
    (f"{FORBIDDEN}maximum memory usage per Container is 4Gi, but limit is 16Gi", "LimitExceeded", "memory"),
]


def fields() -> dict[str, Any]:
    crd = yaml.safe_load((ROOT / "crds/llmservice.dev_llmservices.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    found: dict[str, Any] = schema["resources"]["properties"]
    return found


@pytest.mark.parametrize(("said", "reason", "field"), REFUSED)
def test_the_field_that_would_help_exists_and_the_fix_names_it(said: str, reason: str, field: str) -> None:
    found = admission.judge(said)
    assert found is not None
    assert (found.reason, found.field) == (reason, f"spec.resources.{field}")
    assert found.field in found.fix
    assert field in fields()


@pytest.mark.parametrize(("said", "reason", "field"), REFUSED)
def test_for_an_inspection_it_is_the_platforms_value(said: str, reason: str, field: str) -> None:
    found = admission.judge(said, of_inspection=True)
    assert found is not None and found.reason == reason
    assert "defaults.inspectionResources" in found.fix
    assert found.field == ("spec.resources.cpuLimit" if field == "cpuLimit" else "")


def test_a_default_below_the_request_is_told_with_both_numbers() -> None:
    found = admission.judge(f"{INVALID}{LIMIT_OF_CPU}")
    assert found is not None
    assert "requests 2" in found.message and "cpu limit of 500m" in found.message
