"""Kubernetes quantities as numbers, so that ``1000m`` and ``1`` are equal."""

import re
from fractions import Fraction

_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{suffix: Fraction(1000**power) for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), start=1)},
    **{suffix: Fraction(1024**power) for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)},
}
_QUANTITY = re.compile(r"([+-]?[0-9]*\.?[0-9]+|[+-]?[0-9]+\.)(?:[eE]([+-]?[0-9]{1,2})|([a-zA-Z]{0,2}))")

GIB = 1024**3
LONGEST = 64
"""Maximum length of a quantity, in characters."""


def parse(quantity: str | int) -> Fraction:
    """The number of ``quantity``. Raises ValueError if it is invalid."""
    match = _QUANTITY.fullmatch(str(quantity)[: LONGEST + 1])
    if match is None or len(match[0]) > LONGEST or (match[3] or "") not in _SUFFIXES:
        raise ValueError(f"{quantity!r} is not a quantity such as 16Gi or 500m")
    exponent = Fraction(10) ** int(match[2]) if match[2] else _SUFFIXES[match[3] or ""]
    return Fraction(match[1]) * exponent


def whole_bytes(quantity: str | int) -> int:
    """``quantity`` in whole bytes, rounded down."""
    return int(parse(quantity))


def whole_gib(quantity: str | int) -> int | None:
    """``quantity`` bytes in GiB; None if that is not an integer above 0."""
    gib = parse(quantity) / GIB
    return int(gib) if gib.denominator == 1 and gib > 0 else None
