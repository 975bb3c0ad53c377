"""Reading settings from environment variables, one by one: what is wrong is collected, not raised at the first."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from llmservice_operator.render import quantity

T = TypeVar("T")

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class Reader:
    """Reads variables one by one and collects what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.problems: list[str] = []

    def read(self, name: str, default: T, convert: Callable[[str], T], allowed: str) -> T:
        """The variable's value; the default where it is absent, empty or wrong. ``allowed`` ends the sentence on a
        wrong one."""
        text = self.environment.get(name, "").strip()
        if not text:
            return default
        try:
            return convert(text)
        except ValueError:
            self.problems.append(f"{name} is {text!r}, but must be {allowed}")
            return default


def matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    """Texts that match as a whole."""

    def convert(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(text)
        return text

    return convert


def label(text: str) -> str:
    """A DNS label."""
    return matching(DNS_LABEL)(text)


def labels(text: str) -> tuple[str, ...]:
    """Names separated by commas, each once."""
    return tuple(dict.fromkeys(matching(DOMAIN)(part.strip()) for part in text.split(",") if part.strip()))


def one_of(*allowed: str) -> Callable[[str], str]:
    """One of these words, in any case."""

    def convert(text: str) -> str:
        for value in allowed:
            if text.lower() == value.lower():
                return value
        raise ValueError(text)

    return convert


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number between two bounds."""

    def convert(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return convert


def limit(text: str) -> str:
    """Auto, None, or a quantity above 0 such as 64Gi."""
    if text.lower() in ("auto", "none"):
        return text.capitalize()
    if quantity.parse(text) <= 0:
        raise ValueError(text)
    return text


def truth(text: str) -> bool:
    """true or false."""
    return one_of("true", "false")(text) == "true"


def url(text: str) -> str:
    """An http or https URL without credentials, query or fragment; no slash at its end."""
    if not re.fullmatch(r"https?://[A-Za-z0-9.\-_\[\]:]+(/[^\s?#]*)?", text):
        raise ValueError(text)
    return text.rstrip("/")


def headers(text: str) -> Mapping[str, str]:
    """A JSON object of header names and values."""
    found = json.loads(text)
    token = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
    if not isinstance(found, dict):
        raise ValueError(text)
    for name, value in found.items():
        if not token.fullmatch(name) or not isinstance(value, str) or not value.isprintable():
            raise ValueError(text)
    return found


def file(text: str) -> Path:
    """A path; the file may come later."""
    return Path(text)
