"""Prints charts/llmservice-operator/templates/_kinds.tpl from the table of kinds."""

import json
import sys
from collections.abc import Iterator

from llmservice_operator.resources import kinds

TEMPLATE = """\
{{{{/* Written by hack/generators/chart_kinds.py from llmservice_operator.resources.kinds; change that. */}}}}

{{{{/* Kinds of children as a list in JSON; "made": whether the operator makes them itself. */}}}}
{{{{- define "llmservice.childKinds" -}}}}
[
{kinds}
]
{{{{- end }}}}

{{{{/* What the operator does with children, except for kinds whose verbs depend on values: _rbac.tpl has these. */}}}}
{{{{- define "llmservice.childRules" -}}}}
{rules}
{{{{- end }}}}
"""


def page() -> str:
    """The whole file."""
    rows = [{"group": each.group, "resource": each.plural, "made": each.rendered} for each in kinds.CHILDREN]
    return TEMPLATE.format(kinds=",\n".join(f"  {json.dumps(row)}" for row in rows), rules="\n".join(_rules()))


def _rules() -> Iterator[str]:
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for kind in kinds.CHILDREN:
        if not kind.verbs_by_values:
            found.setdefault((kind.group, kind.verbs), []).append(kind.plural)
    for (group, verbs), resources in found.items():
        yield f"- apiGroups: [{group or json.dumps('')}]"
        yield f"  resources: [{', '.join(resources)}]"
        yield f"  verbs: [{', '.join(verbs)}]"


if __name__ == "__main__":
    sys.stdout.write(page())
