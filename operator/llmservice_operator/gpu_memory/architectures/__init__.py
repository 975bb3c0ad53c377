"""The architectures whose memory use is known, by their name in config.json.

Any other architecture gets the verdict Unknown, because its layers may store anything. tests/engine/test_fit.py
compares each one with vLLM on a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from llmservice_operator.gpu_memory.architectures import dense, encoders, experts, gpt2_opt, hybrid, latent, multimodal
from llmservice_operator.gpu_memory.config import Config, NotModelled
from llmservice_operator.gpu_memory.model import Builder, Cut, Model

_PLAIN: Mapping[str, Builder] = {
    **dense.BUILDERS,
    **experts.BUILDERS,
    **hybrid.BUILDERS,
    **latent.BUILDERS,
    **gpt2_opt.BUILDERS,
    **encoders.BUILDERS,
}

BUILDERS: Mapping[str, Builder] = MappingProxyType({**_PLAIN, **multimodal.builders(_PLAIN)})


def name_of(config: Config) -> str:
    """The architecture that vLLM serves. Raises NotModelled if config.json names none."""
    names = [name for name in config.items("architectures") if isinstance(name, str) and name]
    if not names:
        raise NotModelled("its config.json names no architecture")
    return next((name for name in names if name in BUILDERS), names[0])


def build(config: Config, cut: Cut) -> Model:
    """The model in config.json, split over GPUs. Raises NotModelled or Indivisible."""
    name = name_of(config)
    if name not in BUILDERS:
        raise NotModelled(f"the operator does not know how {name[:80]} uses memory")
    return BUILDERS[name](config, cut)
