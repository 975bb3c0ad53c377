"""Prints the starter catalogue: ClusterLLMModels of well-known open models.

The fields of config.json and the sizes of the weights are those of tests/fixtures/memory/published.json, which says
where each was published. No revision and no digest is stated, because the project reads no hub: pin them where you use
a model.
"""

import dataclasses
import json
import sys
from pathlib import Path

import yaml

from llmservice_operator.api import CLUSTER_MODEL_KIND, GROUP, VERSION
from llmservice_operator.api.model import CatalogueKind

PUBLISHED = Path(__file__).parents[2] / "tests" / "fixtures" / "memory" / "published.json"
APACHE, MIT = "Apache-2.0", "MIT"
LLAMA_3_1, LLAMA_4 = "Llama 3.1 Community License", "Llama 4 Community License"
GEMMA, QWEN = "Gemma Terms of Use", "Qwen License"
SECRET = "hub-token"
HEADER = """\
# The starter catalogue. Printed by hack/generators/starter_catalogue.py; change that.
# Models with credentialsRef are gated: each namespace that uses one needs the Secret, with the key HF_TOKEN.
# The licence's name is for orientation; the text at the source counts.
"""


@dataclasses.dataclass(frozen=True)
class Starter:
    """One model."""

    repository: str
    licence: str
    description: str
    name: str = ""
    """Absent: that of the repository in lower case."""
    gated: bool = False


STARTERS = (
    Starter("Qwen/Qwen3-0.6B", APACHE, "Very small chat model with optional reasoning, for tests and drafts."),
    Starter("Qwen/Qwen3-8B", APACHE, "Chat model with optional reasoning and tool calls."),
    Starter("Qwen/Qwen3-14B", APACHE, "Chat model with optional reasoning and tool calls."),
    Starter(
        "Qwen/Qwen3-30B-A3B", APACHE, "Mixture of experts with 3 billion active parameters; reasoning, tool calls."
    ),
    Starter("Qwen/Qwen3-32B", APACHE, "Large dense chat model with optional reasoning and tool calls."),
    Starter("Qwen/Qwen2.5-7B-Instruct", APACHE, "Chat model with tool calls."),
    Starter("Qwen/Qwen2.5-72B-Instruct", QWEN, "Large chat model with tool calls."),
    Starter("openai/gpt-oss-20b", APACHE, "Mixture of experts in MXFP4; reasoning and tool calls."),
    Starter("openai/gpt-oss-120b", APACHE, "Large mixture of experts in MXFP4; reasoning and tool calls."),
    Starter("meta-llama/Llama-3.1-8B-Instruct", LLAMA_3_1, "Chat model with tool calls.", gated=True),
    Starter(
        "meta-llama/Llama-4-Scout-17B-16E-Instruct",
        LLAMA_4,
        "Mixture of experts for text and images.",
        name="llama-4-scout-17b-16e-instruct",
        gated=True,
    ),
    Starter("google/gemma-3-4b-it", GEMMA, "Small chat model for text and images.", gated=True),
    Starter("google/gemma-3-12b-it", GEMMA, "Chat model for text and images.", gated=True),
    Starter("google/gemma-3-27b-it", GEMMA, "Large chat model for text and images.", gated=True),
    Starter("google/gemma-2-9b-it", GEMMA, "Chat model of the previous generation.", gated=True),
    Starter("ibm-granite/granite-3.1-2b-instruct", APACHE, "Small chat model with tool calls."),
    Starter("ibm-granite/granite-3.1-8b-instruct", APACHE, "Chat model with tool calls."),
    Starter("ibm-granite/granite-3.3-8b-instruct", APACHE, "Chat model with reasoning and tool calls."),
    Starter(
        "mistralai/Mistral-Small-3.2-24B-Instruct-2506", APACHE, "Chat model for text and images, with tool calls."
    ),
    Starter("mistralai/Mixtral-8x7B-Instruct-v0.1", APACHE, "Mixture of experts of the previous generation."),
    Starter("microsoft/phi-4", MIT, "Chat model for reasoning and mathematics."),
)


def page() -> str:
    """All models, as YAML documents."""
    found = json.loads(PUBLISHED.read_text())
    sizes = {row["model"]: row["storedBytes"] for row in found["rows"] if row.get("storedBytes")}
    documents = [_model(each, found["configs"][each.repository], sizes[each.repository]) for each in STARTERS]
    return HEADER + "".join(f"---\n{yaml.safe_dump(each, sort_keys=False, width=1000)}" for each in documents)


def _model(starter: Starter, config: dict[str, object], size: int) -> dict[str, object]:
    name = starter.name or starter.repository.partition("/")[2].lower()
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": str(CatalogueKind(CLUSTER_MODEL_KIND)),
        "metadata": {"name": name},
        "spec": {
            "source": f"hf://{starter.repository}",
            **({"credentialsRef": {"name": SECRET}} if starter.gated else {}),
            "size": str(size),
            "config": json.dumps(config, separators=(",", ":")),
            "licence": {"name": starter.licence, "url": f"https://huggingface.co/{starter.repository}"},
            "description": starter.description,
        },
    }


if __name__ == "__main__":
    sys.stdout.write(page())
