"""Writes docs/reference/llmservice.md from the resource's types; `--check` only compares.

python hack/generators/api_reference.py [--check]
"""

import argparse
import dataclasses
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmservice_contract.engine_settings import SETTINGS
from llmservice_contract.setting import Names, Text
from llmservice_operator.api import GROUP, KIND, VERSION
from llmservice_operator.api.base import INT_OR_STRING_KEY, RULES_KEY, APIType
from llmservice_operator.api.crd import CATEGORIES, SHORT_NAMES, custom_resource_definition, root_schema
from llmservice_operator.api.openapi import flowing, structural
from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.api.status import LLMServiceStatus

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "llmservice.md"

INTRODUCTION = """\
# {kind}, {group}/{version}

<!-- Written by hack/generators/api_reference.py from the types in llmservice_operator.api; change those. -->

{description} The shortest valid one:

```yaml
apiVersion: {group}/{version}
kind: {kind}
metadata: {{name: chat}}
spec:
  model: {{source: hf://Qwen/Qwen3-8B}}
```

`kubectl get {short}` lists them, `kubectl get {category}` too; `kubectl explain {short}.spec` says what is said here.

What the API server accepts but makes no sense (three GPUs for four attention heads) is answered in the status: the
condition Accepted becomes False, says why, and what runs goes on unchanged.

## Nothing is ignored in silence
- A field that this version doesn't know is refused by `kubectl`, whose `--validate=strict` is the default, and by
  server-side apply. A client that asks for less gets a warning from the API server, which drops the field: the object
  never holds it.
- No default is written into the object. "Absent" below says what holds where a field is left out; an empty section
  (`engine:` with nothing in it) counts as absent.
- A size is at least 1Mi: `memory: 16` is refused, not taken as 16 bytes.

## The object
{name_rules}

| Column of `kubectl get` | Content |
|---|---|
{columns}

The scale subresource reads and writes `spec.replicas`, so that `kubectl scale` and a HorizontalPodAutoscaler work.
"""


@dataclasses.dataclass(frozen=True)
class Form:
    """The form of a text, in words."""

    name: str
    words: str

    @property
    def link(self) -> str:
        """The name, leading to the words."""
        return f"[{self.name}](#forms)"


FORMS_BY_PLACE = {
    "spec.model.credentialsRef.name": Form(
        "object name", "lower-case letters, digits, `-` and `.`: an RFC 1123 subdomain"
    ),
    "spec.model.size": Form(
        "size", "a number with a unit: `Ki` `Mi` `Gi` `Ti` `Pi`, `k` `M` `G` `T` `P`, or bytes without"
    ),
    "spec.resources.cpu": Form("cores", "a number of cores, or of thousandths with `m`"),
    "spec.accelerator.products[]": Form(
        "label value", "letters, digits, `-` `_` `.`, beginning and ending with a letter or digit"
    ),
    "spec.accelerator.resourceName": Form("resource", "an object name, `/`, and a label value"),
    "spec.engine.gpuMemoryUtilization": Form("share", "a number with at most three decimals"),
    "spec.engine.kvCacheMemory": Form("whole size", "a whole number with a unit as a size has it"),
    "spec.engine.extraArgs{}": Form("argument", "text in one line, or a whole number"),
    "spec.engine.hfOverrides": Form("JSON object", "text that begins with `{` and ends with `}`"),
    "spec.engine.chatTemplate.configMapRef.key": Form("key", "letters, digits, `-` `_` `.`"),
    "spec.engine.chatTemplate.builtin": Form("template", "`template_NAME.jinja`"),
    "spec.engine.batchTimeout": Form("short time", "a whole number with `ms` or `s`"),
    "spec.engine.speculative.model": Form("draft model", "as in `model.source`, with a path of plain names"),
    "spec.access.caps.bodyBytes": Form(
        "request size", "a whole number with `Ki` `Mi` `Gi`, `k` `M` `G`, or bytes without"
    ),
    "spec.access.allowedOrigins[]": Form(
        "origin", "`SCHEME://HOST[:PORT]` in lower case, without the scheme's own port, or `*`"
    ),
    "spec.access.rateLimits.tiers[].name": Form("tier", "lower-case letters, digits and `-`, the ends no `-`"),
    "spec.access.rateLimits.store.address": Form("address", "a host's name or IPv4 address, `:` and a port"),
    "spec.scaling.targets.timeToFirstToken.p50": Form("time", "a number with `ms` or `s`, with at most three decimals"),
    "spec.rollout.canary.header": Form("header", "lower-case letters, digits and `-`, beginning with a letter"),
    "spec.pod.annotations{}": Form("annotation value", "text without control characters but line breaks and tabs"),
    "spec.pod.image": Form("image", "`HOST[:PORT]/PATH`, and `:TAG` or `@sha256:DIGEST` or both"),
    "spec.scheduling.spreadOver": Form(
        "label key", "a name such as a label value, after an object name and `/` where it has a prefix"
    ),
    "spec.adapters[].revision": Form("whole commit", "40 hexadecimal digits in lower case"),
    "status.conditions[].reason": Form("reason", "one CamelCase word"),
    "status.model.revision": Form("commit", "hexadecimal digits in lower case"),
    "status.memory.total": Form("GiB", "bytes in GiB with one decimal, such as `61.0Gi`"),
    "status.cost.perHour": Form("amount", "a decimal number of whole units of the currency, such as `2.49`"),
}
"""One place stands for all of the same pattern; a pattern without a form is a KeyError."""
FORMS_BY_PLACE |= {
    f"{row.field}[]" if isinstance(row, Names) else row.field: Form(row.field.rpartition(".")[2], row.in_words)
    for row in SETTINGS
    if isinstance(row, Text | Names) and row.is_copied and row.pattern
}


def _forms(schema: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Form]]:
    """The pattern and form of each place that has one in ``FORMS_BY_PLACE``."""
    if place in FORMS_BY_PLACE:
        yield schema["pattern"], FORMS_BY_PLACE[place]
    for name, child in schema.get("properties", {}).items():
        yield from _forms(child, f"{place}.{name}".removeprefix("."))
    for part, bracket in (("items", "[]"), ("additionalProperties", "{}")):
        if part in schema:
            yield from _forms(schema[part], f"{place}{bracket}")


_FORMS = dict(_forms(root_schema()))


def page() -> str:
    """The whole page."""
    (version,) = custom_resource_definition()["spec"]["versions"]
    columns = [
        f"| {column['name']}{' (`-o wide`)' if column.get('priority') else ''} | {column['description']} |"
        for column in version["additionalPrinterColumns"]
    ]
    root = root_schema()
    head = INTRODUCTION.format(
        kind=KIND,
        group=GROUP,
        version=VERSION,
        description=root["description"],
        short=SHORT_NAMES[0],
        category=CATEGORIES[0],
        name_rules="\n".join(f"- {rule['message']}." for rule in root[RULES_KEY]),
        columns="\n".join(columns),
    )
    sections = [*_sections(LLMServiceSpec, "spec"), *_sections(LLMServiceStatus, "status")]
    forms = [f"| {form.name} | {form.words} | `{_cell(pattern)}` |" for pattern, form in _FORMS.items()]
    tail = ["## Forms", "| Form | In words | As a regular expression |", "|---|---|---|", *forms]
    return "\n".join([head, *sections, *tail, ""])


def _cell(text: str) -> str:
    """A text as it stands in a cell of a table."""
    return text.replace("|", r"\|")


def _sections(api_type: type[APIType], path: str) -> Iterator[str]:
    """A section for a type and one for each type below it, in the order of the fields."""
    schema = structural(api_type)
    yield f"## {path}\n{flowing(api_type.__doc__ or '')}\n"
    yield "| Field | Type | Bounds | Absent | What it is |\n|---|---|---|---|---|"
    below = []
    for field in api_type.model_fields.values():
        name = str(field.alias)
        found = schema["properties"][name]
        inner = _api_type(field.annotation)
        step = f"{path}.{name}{'[]' if found.get('type') == 'array' else ''}"
        if inner is not None:
            below.append((inner, step))
        description, _, absent = found["description"].partition(" Absent: ")
        cells = (
            f"`{name}`",
            f"[{_kind(found)}](#{_anchor(step)})" if inner else _kind(found),
            _bounds(found),
            "**required**" if field.is_required() else absent.removesuffix("."),
            description,
        )
        yield "| " + " | ".join(map(_cell, cells)) + " |"
    rules = [*schema.get(RULES_KEY, ()), *_rules_of_fields(schema)]
    if rules:
        yield "\nRules:"
        yield from (f"- {rule['message']}." for rule in rules)
    yield ""
    for inner, step in below:
        yield from _sections(inner, step)


def _rules_of_fields(schema: Mapping[str, Any]) -> Iterator[Mapping[str, str]]:
    """Rules on the values of fields of this type, each message once."""
    seen = set()
    for child in schema["properties"].values():
        if child.get("type") == "object" or "items" in child:
            continue
        for rule in child.get(RULES_KEY, ()):
            if rule["message"] not in seen:
                seen.add(rule["message"])
                yield rule


def _api_type(annotation: Any) -> type[APIType] | None:
    """The type of the API in an annotation, however it is wrapped; None if there is none."""
    if isinstance(annotation, type) and issubclass(annotation, APIType):
        return annotation
    if typing.get_origin(annotation) in (typing.Annotated, typing.Union, types.UnionType, list):
        return next(filter(None, map(_api_type, typing.get_args(annotation))), None)
    return None


def _kind(schema: Mapping[str, Any]) -> str:
    if schema.get(INT_OR_STRING_KEY):
        return "quantity"
    match schema["type"]:
        case "array":
            return f"list of {_kind(schema['items'])}s"
        case "object" if "additionalProperties" in schema:
            return f"map to {_kind(schema['additionalProperties'])}s"
        case "string" if schema.get("format") == "date-time":
            return "time"
        case kind:
            return str(kind)


def _bounds(schema: Mapping[str, Any]) -> str:
    """The bounds of a value, and for a list or map those of its items after its own."""
    said = []
    if "enum" in schema:
        said.append(", ".join(f"`{value}`" for value in schema["enum"]))
    if "minimum" in schema:
        said.append(f"{schema['minimum']:,} to {schema['maximum']:,}")
    if "maxItems" in schema:
        unique = ", each once" if schema.get("x-kubernetes-list-type") == "set" else ""
        said.append(f"{schema.get('minItems', 0)} to {schema['maxItems']} items{unique}")
    if "maxProperties" in schema:
        said.append(f"{schema.get('minProperties', 0)} to {schema['maxProperties']} entries")
    if "maxLength" in schema and "format" not in schema:
        said.append(f"{_FORMS[schema['pattern']].link}, " if "pattern" in schema else "")
        said[-1] += f"at most {schema['maxLength']:,} characters"
    for part in ("items", "additionalProperties"):
        if part in schema and schema[part].get("type") != "object":
            said.append(f"each {_bounds(schema[part])}")
    return "; ".join(said)


def _anchor(step: str) -> str:
    """The anchor that a Markdown heading gets."""
    return "".join(letter for letter in step.lower() if letter.isalnum() or letter in "-_")


def main() -> int:
    """Prints or compares; 1 where --check finds another text."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help=f"print nothing; fail where {PAGE.name} is not current")
    text = page()
    if not parser.parse_args().check:
        sys.stdout.write(text)
        return 0
    if PAGE.is_file() and PAGE.read_text() == text:
        return 0
    print(f"{PAGE.name} is not what the types say: run `make generate`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
