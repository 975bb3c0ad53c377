"""Settings as pydantic models. Each field is one environment variable, and states its bounds.

All invalid variables are reported at once, each with its value and the allowed values. The environment is a mapping,
not always that of this process: ``kubectl llm plan`` reads the environment of the operator's Deployment.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import core_schema

from llmservice_operator.planner.report.phrases import join_or
from llmservice_operator.resources import quantity

PREFIX = "LLMSERVICE_"
LONGEST_JSON = 65_536
"""Maximum length of a variable with JSON, in characters."""
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class Problems(ValueError):
    """Errors in one variable, as sentences that name its parts."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclasses.dataclass(frozen=True)
class Rule:
    """Annotation of a field: the allowed texts, and their conversion to the value."""

    allowed: str
    """Completes the sentence "… must be"."""
    convert: Callable[[str], Any]
    """Converts a text. Raises ValueError if it is not allowed."""
    bounds: tuple[int, int] | None = None
    """Minimum and maximum of a number."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """The rule is the only validation. Values that are not strings come from code and are not checked."""
        return core_schema.no_info_plain_validator_function(
            lambda given: self.convert(given) if isinstance(given, str) else given
        )


class Section(BaseModel):
    """A group of settings. The variable of a field is LLMSERVICE_ and its name in upper case, unless it has an
    alias."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
        alias_generator=lambda name: PREFIX + name.upper(),
    )

    @classmethod
    def variables(cls) -> Mapping[str, FieldInfo]:
        """The fields by their environment variables."""
        return {str(field.alias): field for field in cls.model_fields.values()}


S = TypeVar("S", bound=Section)


def read(section: type[S], environment: Mapping[str, str], problems: list[str]) -> S:
    """The settings in the environment. An absent or blank variable has its default. If any variable is invalid, all
    have their defaults and the errors are appended to ``problems``."""
    given = {name: text for name in section.variables() if (text := environment.get(name, "").strip())}
    try:
        return section.model_validate(given)
    except ValidationError as error:
        problems += _sentences(section, error)
        return section()


def _sentences(section: type[Section], error: ValidationError) -> Iterator[str]:
    variables = section.variables()
    for each in error.errors(include_url=False):
        variable = ".".join(map(str, each["loc"]))
        cause = each.get("ctx", {}).get("error")
        if isinstance(cause, Problems):
            yield from (f"{variable}: {problem}".removeprefix(": ") for problem in cause.problems)
        else:
            yield f"{variable} is {each['input']!r}, but must be {rule(variables[variable]).allowed}"


def rule(field: FieldInfo) -> Rule:
    """The rule of a field."""
    return next(each for each in field.metadata if isinstance(each, Rule))


def whole(low: int, high: int, unit: str = "a whole number") -> Rule:
    """An integer within bounds."""

    def convert(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return Rule(f"{unit} from {low} to {high}", convert, (low, high))


def seconds(low: int, high: int) -> Rule:
    """An integer number of seconds within bounds."""
    return whole(low, high, "whole seconds")


def matching(pattern: re.Pattern[str], words: str) -> Rule:
    """A text that matches ``pattern`` completely."""
    return Rule(words, lambda text: matched(pattern, text))


def matched(pattern: re.Pattern[str], text: str) -> str:
    """``text``. Raises ValueError if it does not match ``pattern`` completely."""
    if not pattern.fullmatch(text):
        raise ValueError(text)
    return text


def several(convert: Callable[[str], str], words: str, most: int | None = None) -> Rule:
    """A list separated by commas, without duplicates."""

    def of(text: str) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(convert(part.strip()) for part in text.split(",") if part.strip()))
        if most is not None and len(found) > most:
            raise ValueError(text)
        return found

    return Rule(f"{words} separated by commas" if most is None else f"at most {most} {words} separated by commas", of)


def one_of(*options: Any) -> Rule:
    """One of these words; upper and lower case are equal."""

    def convert(text: str) -> Any:
        for option in options:
            if text.lower() == str(option).lower():
                return option
        raise ValueError(text)

    return Rule(join_or([str(option) for option in options]), convert)


def json_object(text: str, what: str, number: Callable[[str], Any] | None = None) -> dict[str, Any]:
    """The JSON object in ``text``. ``number`` converts its numbers, if given. Raises Problems."""
    try:
        found = json.loads(text, parse_float=number, parse_int=number) if len(text) <= LONGEST_JSON else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Problems(f"must be a JSON object {what}, of at most {LONGEST_JSON} characters")
    return found


def _limit(text: str) -> str:
    if text.lower() in ("auto", "none"):
        return text.capitalize()
    if quantity.parse(text) <= 0:
        raise ValueError(text)
    return text


def _cpu_limit(text: str) -> str:
    if text.lower() in ("request", "none"):
        return text.capitalize()
    if not quantity.parse("1m") <= quantity.parse(text) <= quantity.parse("1024"):
        raise ValueError(text)
    return text


LABEL = matching(DNS_LABEL, "a DNS label: lower-case letters, digits and '-'")
NAMES = several(lambda text: matched(DOMAIN, text), "names of objects")
IMAGE = matching(re.compile(r"[^\s]{1,512}"), "an image reference")
CPU_LIMIT = Rule("None, Request or a number of cores such as 16 or 500m", _cpu_limit)
LIMIT = Rule("Auto, None or a quantity such as 64Gi", _limit)
PORT = whole(0, 65_535)
TRUTH = Rule("true or false", lambda text: one_of("true", "false").convert(text) == "true")
