"""Plans the services of manifests against other manifests, which stand for what runs. No cluster is asked."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic

from llmservice_operator.api import KIND
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.cli import manifests
from llmservice_operator.cli.failure import Failure
from llmservice_operator.cli.plan import claims, files, omissions, rules
from llmservice_operator.cli.plan.pairs import Pair, by_key, paired
from llmservice_operator.cli.plan.planning import grounded, planned, removed, settled
from llmservice_operator.cli.plan.service_plan import PlannedChange
from llmservice_operator.cli.system import System
from llmservice_operator.planner.model.catalogue import plain, ref_of
from llmservice_operator.planner.model.observed import Observed
from llmservice_operator.planner.model.spec_errors import explain
from llmservice_operator.resources.platform import Adapter, Platform
from llmservice_operator.simulation.scheduler import ClusterCapacity
from llmservice_operator.simulation.simulate import NEW_UID

Object = dict[str, Any]

_DEFAULT_NAMESPACE = "default"


def answers(options: argparse.Namespace, outside: System) -> list[PlannedChange]:
    """The plan of each service, then of each that only the old manifests have. Raises Failure.

    A new manifest that does not exist is taken to be deleted, if there is an old one.
    """
    before = manifests.objects([options.against])
    models = manifests.models_of(before, options.namespace or _DEFAULT_NAMESPACE)
    old = _plain(options, models, manifests.services_of(before, [options.against], may_be_none=True))
    absent = manifests.missing(options.filename) if old else []
    present = [path for path in options.filename if path not in absent]
    after = manifests.objects(present)
    models = [*manifests.models_of(after, options.namespace or _DEFAULT_NAMESPACE), *models]
    new = _plain(options, models, manifests.services_of(after, present, may_be_none=bool(old)))
    stated = claims.of_manifests([*before, *after], options.namespace, _DEFAULT_NAMESPACE)
    notes = tuple(f"{path} does not exist: assuming that it was deleted" for path in absent)
    platform = Platform(
        adapter=Adapter.OWN,
        tolerance_is_settable=True,
        scales_to_zero=True,
        prices=files.prices(options),
    )
    pairs = paired(
        by_key(old, [options.against], options.namespace, _DEFAULT_NAMESPACE),
        by_key(new, options.filename, options.namespace, _DEFAULT_NAMESPACE),
    )
    return [_answer(options, outside, platform, pair, notes, stated) for pair in pairs]


def _plain(options: argparse.Namespace, models: Sequence[Object], found: Sequence[Object]) -> list[Object]:
    """The services with the models of the catalogue that are among the manifests. Raises Failure."""
    here = options.namespace or _DEFAULT_NAMESPACE
    made = [dict(plain(str(each["metadata"].get("namespace") or here), each, models)) for each in found]
    for each in made:
        named = ref_of({**each, "metadata": {"namespace": here, **each["metadata"]}})
        if named is not None:
            raise Failure(
                f"{KIND} {each['metadata']['name']} names {named[0]} {named[2]}, which is not among the manifests or "
                "may not be used: pass its manifest too, or plan on the cluster, without --against"
            )
    return made


def _answer(
    options: argparse.Namespace,
    outside: System,
    platform: Platform,
    pair: Pair,
    absent: tuple[str, ...],
    stated: Mapping[claims.Key, frozenset[str]],
) -> PlannedChange:
    namespace, name = pair.namespace, pair.name
    if pair.after is None:
        return removed(_running(outside, platform, pair, options.against), namespace, name, absent)
    refusals, unchecked = rules.objections(pair.after)
    notes = [*pair.notes, *unchecked]
    if refusals:
        return PlannedChange(namespace, name, tuple(refusals), None, tuple(notes))
    after = {**pair.after, "metadata": {**pair.after["metadata"], "namespace": namespace}}
    if pair.before is not None:
        observed = _running(outside, platform, pair, options.against)
    else:
        observed = Observed({**after, "spec": None}, (), (), None, platform, outside.now())
    claim = claims.named(after["spec"])
    known = claim is None or (namespace, claim) in stated
    modes = {claim: stated[namespace, claim]} if claim is not None and known else {}
    observed = dataclasses.replace(observed, access_modes=modes)
    observed, ground, said = grounded(options, observed, after, ClusterCapacity())
    notes += [] if claim is None or known else [claims.unknown(claim, "is not among the manifests")]
    notes += [*said, *omissions.scaled(pair.after["spec"])]
    model, draft = files.facts(options), files.draft(options)
    return planned(observed, after, ground, None, namespace, name, refusals, notes, model, draft)


def _running(outside: System, platform: Platform, pair: Pair, path: str) -> Observed:
    """The service of the old manifest, with all its replicas ready. Raises Failure."""
    meta = {"name": pair.name, "namespace": pair.namespace, "uid": NEW_UID, "generation": 1}
    live = {**(pair.before or {}), "metadata": meta}
    try:
        LLMServiceSpec.model_validate(live.get("spec"))
    except pydantic.ValidationError as error:
        raise Failure(f"{KIND} {pair.name} of {path} is not valid: {explain(error)}") from None
    return settled(Observed(live, (), (), None, platform, outside.now()))
