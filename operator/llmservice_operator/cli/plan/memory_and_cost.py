"""Memory estimate and cost of a plan, computed by the operator's own code; absent if they are not known."""

from __future__ import annotations

from llmservice_operator.cli.plan.service_plan import DOES_NOT_FIT, Appraisal, Fit, Side
from llmservice_operator.planner.conditions.fits import ask, found_in, verdict_on
from llmservice_operator.planner.conditions.gpu_candidates import candidates
from llmservice_operator.planner.model.fit_estimate import estimated
from llmservice_operator.planner.status.pricing import bill_of_spec

_WORDS = {"True": "Fits", "False": DOES_NOT_FIT, "Unknown": "Unknown"}


def appraise(side: Side) -> Appraisal:
    """What is known of this side of a change."""
    bill = bill_of_spec(side.spec, side.replicas, side.prices, side.product)
    per_hour = bill.per_hour if bill is not None else None
    return Appraisal(
        fit=_fit(side),
        cost_per_hour=None if per_hour is None else float(per_hour),
        currency=side.prices.currency,
    )


def _fit(side: Side) -> Fit | None:
    """None where the model, or what GPUs these are, is not known."""
    facts = side.facts
    gpus = candidates(side.spec, side.nodes)
    if facts is None or not facts.configuration or not gpus:
        return None
    verdict = verdict_on(found_in(estimated(ask(side.spec, facts.configuration, facts.weight_bytes, gpus))))
    return Fit(_WORDS[verdict.status], verdict.message)
