"""The ConfigMap with the engine's environment.

It is immutable and its name is a hash of its content, so that each revision of the pods keeps its own environment.
"""

from collections.abc import Mapping
from typing import Any

from llmservice_operator.api.service import LLMServiceSpec
from llmservice_operator.resources import environment, kinds, names
from llmservice_operator.resources.objects import Owner, canonical, metadata, sealed
from llmservice_operator.resources.platform import Platform


def make_configmap(
    owner: Owner, spec: LLMServiceSpec, platform: Platform, variables: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The ConfigMap for ``spec``. ``variables`` is the environment if it is already rendered."""
    data = dict(variables) if variables is not None else environment.of_platform(owner.name, spec, platform)
    return sealed(
        {
            **kinds.CONFIGMAP.header,
            "metadata": metadata(owner, names.environment(owner.name, canonical(data)), names.ENGINE_COMPONENT),
            "immutable": True,
            "data": data,
        }
    )
