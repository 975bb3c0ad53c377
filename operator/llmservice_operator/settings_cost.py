"""What the platform team says that GPUs cost: LLMSERVICE_COST, a JSON object as the chart value ``cost`` has it."""

import datetime
import json
import re
from decimal import Decimal
from typing import Any

from llmservice_operator.render.prices import Price, Prices
from llmservice_operator.settings_reader import Reader

VARIABLE = "LLMSERVICE_COST"

_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_PRODUCT = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,126}[A-Za-z0-9])?")
_FIELDS = {"price", "source", "date"}


def prices(reader: Reader) -> Prices:
    """Read them; none where the variable is absent, empty or wrong."""
    text = reader.environment.get(VARIABLE, "").strip()
    if not text:
        return Prices()
    try:
        given = json.loads(text, parse_float=str, parse_int=str)
        currency, gpu_hours = given.get("currency", ""), given.get("gpuHours") or {}
        products = dict(gpu_hours)
    except (ValueError, AttributeError, TypeError):
        reader.problems.append(f"{VARIABLE} must be a JSON object with currency and gpuHours")
        return Prices()
    if not products:
        return Prices()
    problems = [problem for product, price in products.items() if (problem := _problem(product, price))]
    if not isinstance(currency, str) or not re.fullmatch("[A-Z]{3}", currency):
        problems.insert(0, f"currency is {currency!r}, but must be three letters of ISO 4217, such as EUR")
    if problems:
        reader.problems += [f"{VARIABLE}: {problem}" for problem in problems]
        return Prices()
    found = {
        product: Price(Decimal(price["price"]), price["source"].strip(), price["date"])
        for product, price in products.items()
    }
    return Prices(currency, found)


def _problem(product: str, price: Any) -> str:
    at = f"gpuHours.{product}"
    if not _PRODUCT.fullmatch(product):
        return f"{at}: a product is the value of a node's label, such as NVIDIA-H100-80GB-HBM3"
    if not isinstance(price, dict) or price.keys() != _FIELDS:
        return f"{at} must have price, source and date, and nothing else"
    if not isinstance(price["price"], str) or not _AMOUNT.fullmatch(price["price"]):
        return f"{at}.price is {price['price']!r}, but must be a number from 0 up, such as 2.49"
    source = price["source"]
    if not isinstance(source, str) or not source.strip() or len(source) > 256 or not source.isprintable():
        return f"{at}.source must say where the price is from, in up to 256 characters"
    try:
        datetime.datetime.strptime(price["date"], "%Y-%m-%d")
    except (ValueError, TypeError):
        return f"{at}.date is {price['date']!r}, but must be a day such as 2026-11-01"
    return ""
