"""What goes: pods that block an update, environments of older revisions; and what must stay."""

import dataclasses

import pytest

from builders.observed import Scene, a_scene, live, rolled_out
from builders.pods import PodBuilder, a_pod
from builders.services import a_service


def deleted(scene: Scene) -> list[tuple[str, str]]:
    return [(gone.kind, gone.name) for gone in scene.plan().deletions]


def configmap(scene: Scene) -> str:
    return str(next(obj["metadata"]["name"] for obj in scene.plan().objects if obj.get("immutable")))


def corrected() -> Scene:
    """A wrong path was put right; the StatefulSet's controller has seen it, and two pods are of the old revision."""
    scene = a_scene(a_service().with_replicas(2)).settled()
    return scene.with_spec(model={"source": "pvc://models/right"}).settled("r2", before="r1")


STUCK = {
    "crashed": lambda pod: pod.ended(1, "no such model"),
    "crashed and started again": lambda pod: pod.loading().ended_before(1, "no such model"),
    "image": lambda pod: pod.waiting("ImagePullBackOff"),
    "secret": lambda pod: pod.waiting("CreateContainerConfigError"),
    "unschedulable": lambda pod: pod.unschedulable(),
    "volumes": lambda pod: pod.waiting("ContainerCreating"),
}


@pytest.mark.parametrize("cause", STUCK)
def test_a_pod_of_an_older_revision_that_cannot_get_ready_goes(cause: str) -> None:
    stuck: PodBuilder = STUCK[cause](a_pod("chat-0").of_revision("r1"))
    scene = corrected().with_pods(stuck, a_pod("chat-1").of_revision("r2").loading())
    (gone,) = scene.plan().deletions
    assert (gone.kind, gone.name, gone.uid) == ("Pod", "chat-0", "uid-chat-0")


def test_pods_that_serve_or_load_are_left_to_the_update() -> None:
    loading, ready = a_pod("chat-0").of_revision("r1").loading(), a_pod("chat-1").of_revision("r1").ready()
    assert deleted(corrected().with_pods(loading, ready)) == []


def test_a_stuck_pod_of_the_newest_revision_stays() -> None:
    assert deleted(corrected().with_pods(a_pod("chat-0").of_revision("r2").ended(1))) == []


def test_nothing_goes_before_the_statefulset_is_applied_and_seen() -> None:
    crashed = a_pod("chat-0").of_revision("r1").ended(1)
    scene = a_scene(a_service().with_replicas(2)).settled().with_pods(crashed)
    changed = scene.with_spec(model={"source": "pvc://models/right"})
    assert deleted(changed) == []
    applied = changed.applied()
    assert deleted(applied) == [], "its controller has not seen the new template"
    seen = applied.settled("r2", before="r1")
    assert deleted(seen) == [], "all replicas are still of the revision before"
    assert deleted(seen.settled("r2", before="r1")) == [("Pod", "chat-0")]


def test_nothing_goes_for_a_revision_that_is_to_be_replaced_itself() -> None:
    scene = corrected().with_pods(a_pod("chat-0").of_revision("r1").ended(1))
    assert deleted(scene) == [("Pod", "chat-0")]
    assert deleted(scene.with_spec(engine={"maxNumSeqs": 7})) == []


def test_an_environment_stays_until_all_pods_are_updated() -> None:
    scene = a_scene().settled()
    old = configmap(scene)
    scene = scene.with_spec(engine={"maxNumSeqs": 7}).settled("r2", before="r1")
    new = configmap(scene)
    assert old != new
    rolling = scene.with_pods(a_pod().using(old).ready())
    assert ("ConfigMap", old) not in deleted(rolling)
    done = scene.with_pods(a_pod().of_revision("r2").using(new).ready()).settled("r2")
    assert deleted(done) == [("ConfigMap", old)]


def test_an_environment_that_a_pod_still_uses_stays() -> None:
    scene = a_scene().settled()
    old = configmap(scene)
    done = scene.with_spec(engine={"maxNumSeqs": 7}).settled("r2")
    leaving = a_pod("chat-1").of_revision("r1").using(old).going()
    assert deleted(done.with_pods(a_pod().of_revision("r2").ready(), leaving)) == []


def test_the_policy_of_a_revision_without_keys_stays_while_its_pods_do() -> None:
    """It says that no keys are needed: else a pod that mounts none would refuse everything until it is replaced."""
    scene = a_scene(a_service().with_replicas(2)).settled()
    old, new = a_pod("chat-0").of_revision("r1").mounting("chat-access"), a_pod("chat-1").of_revision("r2")
    closed = scene.with_spec(access={"apiKeys": {"secretRef": {"name": "keys"}}})
    rolling = closed.settled("r2", before="r1").with_pods(old.ready(), new.loading())
    assert deleted(rolling) == []
    assert "requireKeys" not in rolling.child("ConfigMap", "chat-access")["data"]["access.json"]
    leaving = closed.settled("r2").with_pods(old.going(), new.ready()).settled("r2")
    assert ("ConfigMap", "chat-access") not in deleted(leaving)
    left = leaving.with_pods(new.ready()).settled("r2").settled("r2")
    assert "chat-access" not in {child["metadata"]["name"] for child in left.children}


def test_objects_of_others_with_our_labels_stay() -> None:
    scene = a_scene().settled()
    ours = scene.child("ConfigMap", "chat-access")
    other = live({**ours, "metadata": {**ours["metadata"], "name": "chat-mine"}})
    other["metadata"]["ownerReferences"] = []
    assert deleted(scene.with_children(other)) == []


def test_going_back_to_the_spec_before_brings_its_environment_back() -> None:
    scene = a_scene().settled()
    first = configmap(scene)
    there_and_back = scene.with_spec(engine={"maxNumSeqs": 7}).settled("r2").settled("r2")
    service = {**there_and_back.service, "spec": scene.service["spec"]}
    assert configmap(dataclasses.replace(there_and_back, service=service)) == first


def test_a_statefulset_whose_controller_lags_is_not_updated() -> None:
    scene = a_scene().settled()
    lagging = rolled_out(scene.child("StatefulSet"), "r1")
    lagging["status"]["observedGeneration"] = 0
    scene = scene.without("StatefulSet", "chat").with_children(lagging)
    ours = scene.child("ConfigMap", "chat-access")
    stray = live({**ours, "metadata": {**ours["metadata"], "name": "chat-old"}})
    assert deleted(scene.with_children(stray)) == []


def test_a_claim_template_stays_until_no_pod_and_no_earlier_revision_names_it() -> None:
    service = a_service().with_replicas(1).with_spec(accelerator={"deviceClassName": "gpu.example.com"})
    before = a_scene(service.read()).settled()
    (old,) = (each for each in before.children if each["kind"] == "ResourceClaimTemplate")
    name = old["metadata"]["name"]
    claim = {"resourceClaims": [{"name": "devices", "resourceClaimTemplateName": name}]}
    changed = before.with_spec(parallelism={"tensor": 2})
    assert ("ResourceClaimTemplate", name) not in deleted(changed.applied())
    ready = a_pod("chat-0").of_revision("r2").ready()
    done = changed.settled("r2", before="r1").with_pods(ready).settled("r2")
    holding = a_pod("chat-0").of_revision("r2").ready().build()
    still_named = dataclasses.replace(done, pods=({**holding, "spec": {**holding["spec"], **claim}},))
    assert ("ResourceClaimTemplate", name) not in deleted(still_named)
    assert ("ResourceClaimTemplate", name) in deleted(done)
