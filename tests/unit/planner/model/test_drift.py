"""What counts as drift, and what the API server or others may add; against a real one see tests/cluster."""

import copy
from typing import Any

import pytest

from builders.observed import a_scene, leader
from llmservice_operator.planner.model.drift import differs
from llmservice_operator.resources.objects import sealed

Json = dict[str, Any]


def statefulset() -> Json:
    return copy.deepcopy(dict(leader(a_scene().plan())))


def container(obj: Json) -> Json:
    found: Json = obj["spec"]["template"]["spec"]["containers"][0]
    return found


def defaults(obj: Json) -> None:
    obj["spec"]["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Retain", "whenScaled": "Retain"}


def defaults_inside_lists(obj: Json) -> None:
    container(obj)["ports"][0]["hostPort"] = 0
    container(obj)["readinessProbe"]["httpGet"]["scheme"] = "HTTP"


def quantities_in_other_words(obj: Json) -> None:
    container(obj)["resources"]["requests"].update({"cpu": "1000m", "memory": "8192Mi"})


def a_label_of_others(obj: Json) -> None:
    obj["metadata"]["labels"]["team"] = "a"


def an_annotation_of_others(obj: Json) -> None:
    obj["metadata"]["annotations"]["note"] = "keep"


def a_variable_of_others(obj: Json) -> None:
    container(obj).setdefault("env", []).append({"name": "EXTRA", "value": "1"})


def a_zero_left_out(obj: Json) -> None:
    del obj["spec"]["minReadySeconds"]
    del obj["spec"]["updateStrategy"]["rollingUpdate"]["partition"]


def another_image(obj: Json) -> None:
    container(obj)["image"] = "other"


def another_count(obj: Json) -> None:
    obj["spec"]["replicas"] = 7


def a_removed_label(obj: Json) -> None:
    del obj["metadata"]["labels"]["app.kubernetes.io/part-of"]


def a_removed_toleration(obj: Json) -> None:
    obj["spec"]["template"]["spec"]["tolerations"] = []


def one_toleration_more(obj: Json) -> None:
    obj["spec"]["template"]["spec"]["tolerations"].append({"operator": "Exists"})


def another_quantity(obj: Json) -> None:
    container(obj)["resources"]["limits"]["nvidia.com/gpu"] = "2"


def a_removed_mount(obj: Json) -> None:
    container(obj)["volumeMounts"].pop()


def a_key_more_in_the_selector(obj: Json) -> None:
    obj["spec"]["selector"]["matchLabels"]["team"] = "a"
    obj["spec"]["selector"]["matchExpressions"] = []


def a_held_update(obj: Json) -> None:
    obj["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 3


def a_writable_root(obj: Json) -> None:
    container(obj)["securityContext"]["readOnlyRootFilesystem"] = False


def a_token_for_the_pod(obj: Json) -> None:
    del obj["spec"]["template"]["spec"]["automountServiceAccountToken"]


def a_way_to_more_privileges(obj: Json) -> None:
    del container(obj)["securityContext"]["allowPrivilegeEscalation"]


def a_lost_owner(obj: Json) -> None:
    obj["metadata"]["ownerReferences"] = []


def a_lost_fingerprint(obj: Json) -> None:
    obj["metadata"]["annotations"] = {}


NO_DRIFT = (
    defaults,
    defaults_inside_lists,
    quantities_in_other_words,
    a_label_of_others,
    an_annotation_of_others,
    a_variable_of_others,
    a_zero_left_out,
)
DRIFT = (
    another_image,
    another_count,
    a_removed_label,
    a_removed_toleration,
    one_toleration_more,
    another_quantity,
    a_removed_mount,
    a_key_more_in_the_selector,
    a_held_update,
    a_writable_root,
    a_token_for_the_pod,
    a_way_to_more_privileges,
    a_lost_owner,
    a_lost_fingerprint,
)


@pytest.mark.parametrize("change", NO_DRIFT)
def test_what_others_add_is_no_drift(change: Any) -> None:
    actual = statefulset()
    change(actual)
    assert actual != statefulset()
    assert not differs(statefulset(), actual)


@pytest.mark.parametrize("change", DRIFT)
def test_what_is_ours_and_was_changed_is_drift(change: Any) -> None:
    actual = statefulset()
    change(actual)
    assert differs(statefulset(), actual)


def test_a_field_that_is_wanted_no_more_is_drift() -> None:
    before = statefulset()
    desired = statefulset()
    del desired["spec"]["template"]["spec"]["tolerations"]
    assert differs(sealed(desired), before)


def test_a_selector_of_a_service_belongs_to_us_as_a_whole() -> None:
    service = copy.deepcopy(dict(next(obj for obj in a_scene().plan().objects if obj["kind"] == "Service")))
    actual = copy.deepcopy(service)
    actual["spec"]["selector"]["team"] = "a"
    assert differs(service, actual)
