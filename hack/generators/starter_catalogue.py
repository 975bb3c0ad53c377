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
SECRET = "hub-token"
HEADER = """\
# The starter catalogue. Printed by hack/generators/starter_catalogue.py; change that.
# Models with credentialsRef are gated: each namespace that uses one needs the Secret, with the key HF_TOKEN.
# The licence's name is for orientation; the text at licence.url and at the source counts.
"""


@dataclasses.dataclass(frozen=True)
class Licence:
    """A licence, and the page that states it for these models, or the text that a model's card or repository names.
    They were read on 2026-12-01 in copies of these pages, Granite 3.3's in a fork of the repository. A model whose
    licence no page states must have none here."""

    name: str
    stated: str


HUB, GITHUB = "https://huggingface.co", "https://github.com"
APACHE = "Apache-2.0"
QWEN3 = Licence(APACHE, f"{GITHUB}/QwenLM/Qwen3#license-agreement")
QWEN2_5 = Licence(APACHE, "https://qwenlm.github.io/blog/qwen2.5")
QWEN2_5_72B = Licence("Qwen License", f"{HUB}/Qwen/Qwen2.5-72B-Instruct/blob/main/LICENSE")
GPT_OSS = Licence(APACHE, f"{GITHUB}/openai/gpt-oss#highlights")
LLAMA_3_1 = Licence(
    "Llama 3.1 Community License", f"{GITHUB}/meta-llama/llama-models/blob/main/models/llama3_1/LICENSE"
)
LLAMA_4 = Licence("Llama 4 Community License", f"{GITHUB}/meta-llama/llama-models/blob/main/models/llama4/LICENSE")
GEMMA = Licence("Gemma Terms of Use", "https://ai.google.dev/gemma/terms")
GRANITE_3_1 = Licence(APACHE, f"{GITHUB}/ibm-granite/granite-3.1-language-models#license")
GRANITE_3_3 = Licence(APACHE, f"{GITHUB}/ibm-granite/granite-3.3-language-models")
MISTRAL_SMALL = Licence(APACHE, f"{HUB}/mistralai/Mistral-Small-3.2-24B-Instruct-2506")
MIXTRAL = Licence(APACHE, "https://docs.mistral.ai/getting-started/open_weight_models/")
PHI = Licence("MIT", f"{HUB}/microsoft/phi-4/resolve/main/LICENSE")


@dataclasses.dataclass(frozen=True)
class Starter:
    """One model."""

    repository: str
    licence: Licence
    description: str
    name: str = ""
    """Absent: that of the repository in lower case."""
    gated: bool = False


STARTERS = (
    Starter("Qwen/Qwen3-0.6B", QWEN3, "Very small chat model with optional reasoning, for tests and drafts."),
    Starter("Qwen/Qwen3-8B", QWEN3, "Chat model with optional reasoning and tool calls."),
    Starter("Qwen/Qwen3-14B", QWEN3, "Chat model with optional reasoning and tool calls."),
    Starter("Qwen/Qwen3-30B-A3B", QWEN3, "Mixture of experts with 3 billion active parameters; reasoning, tool calls."),
    Starter("Qwen/Qwen3-32B", QWEN3, "Large dense chat model with optional reasoning and tool calls."),
    Starter("Qwen/Qwen2.5-7B-Instruct", QWEN2_5, "Chat model with tool calls."),
    Starter("Qwen/Qwen2.5-72B-Instruct", QWEN2_5_72B, "Large chat model with tool calls."),
    Starter("openai/gpt-oss-20b", GPT_OSS, "Mixture of experts in MXFP4; reasoning and tool calls."),
    Starter("openai/gpt-oss-120b", GPT_OSS, "Large mixture of experts in MXFP4; reasoning and tool calls."),
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
    Starter("ibm-granite/granite-3.1-2b-instruct", GRANITE_3_1, "Small chat model with tool calls."),
    Starter("ibm-granite/granite-3.1-8b-instruct", GRANITE_3_1, "Chat model with tool calls."),
    Starter("ibm-granite/granite-3.3-8b-instruct", GRANITE_3_3, "Chat model with reasoning and tool calls."),
    Starter(
        "mistralai/Mistral-Small-3.2-24B-Instruct-2506",
        MISTRAL_SMALL,
        "Chat model for text and images, with tool calls.",
    ),
    Starter("mistralai/Mixtral-8x7B-Instruct-v0.1", MIXTRAL, "Mixture of experts of the previous generation."),
    Starter("microsoft/phi-4", PHI, "Chat model for reasoning and mathematics."),
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
            "licence": {"name": starter.licence.name, "url": starter.licence.stated},
            "description": starter.description,
        },
    }


if __name__ == "__main__":
    sys.stdout.write(page())
