"""The base of all API types: strict fields, camelCase in JSON, and CEL rules next to the type that they validate.

An unknown field is an error, so that nothing that a user writes is silently ignored.
"""

import dataclasses
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, JsonValue
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from llmservice_contract.engine_arguments import LONGEST_VALUE
from llmservice_contract.engine_settings import CPU_KV_CACHE_GIB
from llmservice_contract.setting import Document, Names, Setting, Switch, Text, Whole

RULES_KEY = "x-kubernetes-validations"
INT_OR_STRING_KEY = "x-kubernetes-int-or-string"


@dataclasses.dataclass(frozen=True)
class Rule:
    """A CEL rule of the CRD (``x-kubernetes-validations``) and its error message.

    ``rule`` is the CEL expression with ``self`` as the value of the type that has the rule. ``field`` is the path below
    that type that the error names, such as ``.tensor``; empty for the type itself.
    """

    rule: str
    message: str
    field: str = ""

    def as_schema(self) -> dict[str, str]:
        """The rule in the format of the CRD."""
        path = {"fieldPath": self.field} if self.field else {}
        return {"rule": self.rule, "message": self.message, **path}


class APIType(BaseModel):
    """A part of the resource: immutable, strict, camelCase in JSON."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core_schema)
        if cls.rules:
            handler.resolve_ref_schema(schema)[RULES_KEY] = [rule.as_schema() for rule in cls.rules]
        return schema


def bounds(setting: Setting[Any]) -> Any:
    """The constraints of a field that has the type and bounds of an engine setting."""
    match setting:
        case Whole(minimum=least, maximum=most):
            return Field(ge=least, le=most)
        case Text(longest=longest, pattern=pattern):
            return Field(min_length=1, max_length=longest, pattern=f"^{pattern}$" if pattern else None)
        case Switch():
            return Field(strict=True)
        case Document(longest=longest):
            return Field(pattern=r"^\s*[{][\s\S]*[}]\s*$", max_length=longest)
    raise TypeError(f"{type(setting).__name__} of {setting.field} has no form in the resource: write the field's type")


def item_bounds(setting: Names) -> Any:
    """The constraints of each name in a list."""
    return Field(min_length=setting.shortest, max_length=setting.longest, pattern=f"^{setting.pattern}$")


def list_bounds(setting: Names) -> Any:
    """The constraints of the list itself; each name may occur once."""
    return Field(min_length=1, max_length=setting.most, json_schema_extra={"x-kubernetes-list-type": "set"})


def _number_as_text(value: Any) -> Any:
    """A number of a quantity as text; other values unchanged."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _quantity(pattern: str, max_length: int, rule: Rule) -> Any:
    """Metadata of a quantity field: its pattern, its maximum length, and the rule for its value."""
    validations: list[JsonValue] = [dict(rule.as_schema())]
    return Field(
        pattern=pattern,
        max_length=max_length,
        json_schema_extra={INT_OR_STRING_KEY: True, RULES_KEY: validations},
    )


ArgumentValue = Annotated[
    str,
    Field(pattern=r"^[^\r\n\t]+$", max_length=LONGEST_VALUE, json_schema_extra={INT_OR_STRING_KEY: True}),
    BeforeValidator(_number_as_text),
]
"""A text, on the wire also a bare whole number."""

Bytes = Annotated[
    str,
    _quantity(
        r"^[0-9]{1,16}(\.[0-9]{1,9})?([KMGTP]i|[kMGTP])?$",
        28,
        Rule(
            "quantity(string(self)).compareTo(quantity('1Mi')) >= 0 && "
            "quantity(string(self)).compareTo(quantity('1Pi')) <= 0",
            "a size in bytes must be from 1Mi to 1Pi: give it a unit, such as 16Gi",
        ),
    ),
    BeforeValidator(_number_as_text),
]
"""A size as a Kubernetes quantity such as ``16Gi``, from 1Mi to 1Pi; in JSON also a number of bytes."""

RequestBytes = Annotated[
    str,
    _quantity(
        r"^[0-9]{1,10}([KMG]i|[kMG])?$",
        12,
        Rule(
            "quantity(string(self)).compareTo(quantity('1Ki')) >= 0 && "
            "quantity(string(self)).compareTo(quantity('1Gi')) <= 0",
            "a limit for the size of a request must be from 1Ki to 1Gi, such as 8Mi",
        ),
    ),
    BeforeValidator(_number_as_text),
]
"""A size as a Kubernetes quantity such as ``8Mi``, from 1Ki to 1Gi; in JSON also a number of bytes."""

WholeGiB = Annotated[
    str,
    _quantity(
        r"^[0-9]{1,16}([KMGTP]i|[kMGTP])?$",
        18,
        Rule(
            "quantity(string(self)).isInteger() && quantity(string(self)).asInteger() % 1073741824 == 0 && "
            f"quantity(string(self)).compareTo(quantity('{CPU_KV_CACHE_GIB.minimum}Gi')) >= 0 && "
            f"quantity(string(self)).compareTo(quantity('{CPU_KV_CACHE_GIB.maximum}Gi')) <= 0",
            f"the memory of the KV cache must be whole GiB from {CPU_KV_CACHE_GIB.minimum}Gi to "
            f"{CPU_KV_CACHE_GIB.maximum}Gi, such as 4Gi",
        ),
    ),
    BeforeValidator(_number_as_text),
]
"""A size as a Kubernetes quantity of whole GiB, from 1Gi to 4096Gi; in JSON also a number of bytes."""

Cores = Annotated[
    str,
    _quantity(
        r"^[0-9]{1,7}(\.[0-9]{1,3}|m)?$",
        11,
        Rule(
            "quantity(string(self)).compareTo(quantity('1m')) >= 0 && "
            "quantity(string(self)).compareTo(quantity('1024')) <= 0",
            "CPU must be from 1m to 1024 cores, such as 4 or 500m",
        ),
    ),
    BeforeValidator(_number_as_text),
]
"""CPU cores as a Kubernetes quantity such as ``4`` or ``500m``, from 1m to 1024; in JSON also a number."""

_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*"

ConfigMapKey = Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
"""A key of a ConfigMap's data."""

SubdomainName = Annotated[str, Field(pattern=rf"^{_SUBDOMAIN}$", min_length=1, max_length=253)]
"""The name of a Kubernetes object: an RFC 1123 subdomain."""

LABEL_KEY = rf"^({_SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$"
EXTENDED_RESOURCE = rf"^{_SUBDOMAIN}/[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$"
MAX_KEY_LENGTH = 200
"""Maximum length of a label key or resource name. Kubernetes' limits for the prefix and the name then hold too."""

LabelKey = Annotated[str, Field(pattern=LABEL_KEY, min_length=1, max_length=MAX_KEY_LENGTH)]
"""Key of a label or taint."""

LabelValue = Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]
"""Value of a label or taint; may be empty."""
