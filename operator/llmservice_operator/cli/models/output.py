"""The output of `kubectl llm models`: a table for people, and a JSON document."""

from __future__ import annotations

from collections.abc import Sequence

from llmservice_operator.cli import wire
from llmservice_operator.cli.models.offers import Offer, Placement
from llmservice_operator.cli.terminal import table
from llmservice_operator.planner.status.pricing import exact, rounded

_NOTHING = "-"
_GIB = 1 << 30


def as_table(offers: Sequence[Offer]) -> str:
    """The models for people. Costs are shown if at least one is known."""
    priced = any(each.placement is not None and each.placement.price is not None for each in offers)
    headings = ["NAME", "KIND", "LICENCE", "CONTEXT", "WEIGHTS", "FITS", "FREE", *(["COST/H"] if priced else [])]
    return table([*headings, "SERVICES"], [_cells(each, priced=priced) for each in offers])


def _cells(offer: Offer, *, priced: bool) -> list[str]:
    facts, place = offer.facts, offer.placement
    context = facts.max_context_length if facts is not None else None
    weights = facts.weight_bytes if facts is not None else None
    cost = place.price if place is not None else None
    return [
        offer.name,
        offer.kind,
        offer.entry.licence.name if offer.entry.licence is not None else _NOTHING,
        _NOTHING if context is None else str(context),
        _NOTHING if weights is None else f"{weights / _GIB:.1f} GiB",
        _fits(offer),
        _NOTHING if place is None else "yes" if place.free else "no",
        *([_NOTHING if cost is None else f"{offer.currency} {rounded(cost)}"] if priced else []),
        str(offer.services),
    ]


def _fits(offer: Offer) -> str:
    if offer.placement is not None:
        return f"{offer.placement.count} x {offer.placement.product}"
    return "no" if offer.verdict == "DoesNotFit" else "unknown"


def as_json(namespace: str, offers: Sequence[Offer]) -> str:
    """The models as a document."""
    return wire.text(wire.Models(namespace=namespace, items=[_item(each) for each in offers]))


def _item(offer: Offer) -> wire.CatalogueModel:
    entry, facts = offer.entry, offer.facts
    return wire.CatalogueModel(
        ref_kind=offer.kind,
        name=offer.name,
        source=entry.source,
        revision=entry.revision,
        digest=entry.digest,
        licence=entry.licence.name if entry.licence is not None else None,
        description=entry.description,
        credentials_secret=entry.credentials_ref.name if entry.credentials_ref is not None else None,
        facts_from=facts.source if facts is not None else None,
        architecture=facts.architecture if facts is not None else None,
        layers=facts.layers if facts is not None else None,
        attention_heads=facts.attention_heads if facts is not None else None,
        max_context_length=facts.max_context_length if facts is not None else None,
        weight_bytes=facts.weight_bytes if facts is not None else None,
        fits=offer.verdict,
        placement=_part(offer.placement, offer.currency) if offer.placement is not None else None,
        message=offer.message,
        services=offer.services,
    )


def _part(place: Placement, currency: str) -> wire.PlacementPart:
    return wire.PlacementPart(
        gpus=place.count,
        product=place.product,
        free=place.free,
        per_hour=None if place.price is None else exact(place.price),
        currency=currency if place.price is not None else None,
    )
