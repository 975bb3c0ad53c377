"""The platform's prices of GPUs: a JSON object in the form of the chart value ``cost``."""

import datetime
import re
from decimal import Decimal
from typing import Any

from llmservice_operator.config.section import Problems, json_object
from llmservice_operator.resources.platform import Price, Prices

_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_PRODUCT = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,126}[A-Za-z0-9])?")
_FIELDS = {"price", "source", "date"}


def read_prices(text: str) -> Prices:
    """The prices in ``text``. Raises Problems."""
    given = json_object(text, "with currency and gpuHours", number=str)
    currency, products = given.get("currency", ""), given.get("gpuHours") or {}
    if not isinstance(products, dict):
        raise Problems("gpuHours must be a JSON object")
    if not products:
        return Prices()
    problems = [problem for product, price in products.items() if (problem := _problem(product, price))]
    if not isinstance(currency, str) or not re.fullmatch("[A-Z]{3}", currency):
        problems.insert(0, f"currency is {currency!r}, but must be three letters of ISO 4217, such as EUR")
    if problems:
        raise Problems(*problems)
    found = {
        product: Price(Decimal(price["price"]), price["source"].strip(), price["date"])
        for product, price in products.items()
    }
    return Prices(currency, found)


def _problem(product: str, price: Any) -> str:
    at = f"gpuHours.{product}"
    if not _PRODUCT.fullmatch(product):
        return f"{at}: a product must be the value of a node label, such as NVIDIA-H100-80GB-HBM3"
    if not isinstance(price, dict) or price.keys() != _FIELDS:
        return f"{at} must have price, source and date, and nothing else"
    if not isinstance(price["price"], str) or not _AMOUNT.fullmatch(price["price"]):
        return f"{at}.price is {price['price']!r}, but must be a number of 0 or more, such as 2.49"
    source = price["source"]
    if not isinstance(source, str) or not source.strip() or len(source) > 256 or not source.isprintable():
        return f"{at}.source must name the source of the price, in at most 256 characters"
    try:
        datetime.datetime.strptime(price["date"], "%Y-%m-%d")
    except (ValueError, TypeError):
        return f"{at}.date is {price['date']!r}, but must be a date such as 2026-11-01"
    return ""
