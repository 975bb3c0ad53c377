"""What every type of the API shares: strict fields, camelCase on the wire, CEL rules beside the type they guard.

A field that the types don't know is an error, never dropped: nothing a user writes is silently ignored.
"""

import dataclasses
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


@dataclasses.dataclass(frozen=True)
class Rule:
    """A CEL rule of the CRD (``x-kubernetes-validations``) and the sentence a user reads when it fails.

    ``rule`` is the CEL expression with ``self`` as the value of the type it stands on. ``field`` is the
    path below that type which the error names, such as ``.tensor``; empty for the type itself.
    """

    rule: str
    message: str
    field: str = ""


class APIType(BaseModel):
    """A part of the resource: immutable, strict, camelCase on the wire."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()


Quantity = Annotated[
    str,
    Field(
        pattern=r"^([0-9]{1,12}(\.[0-9]{1,9})?)(([KMGTPE]i)|[numkMGTPE]|)$",
        max_length=32,
        json_schema_extra={"x-kubernetes-int-or-string": True},
    ),
]
"""A Kubernetes quantity such as ``16Gi`` or ``500m``; a bare number is accepted on the wire."""

DNSLabel = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", min_length=1, max_length=63)]
"""A name by RFC 1123."""

SubdomainName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$", min_length=1, max_length=253)]
"""The name of a Kubernetes object: an RFC 1123 subdomain."""
