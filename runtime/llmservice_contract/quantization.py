"""How a checkpoint's weights are stored, and which values of spec.quantization.method go with them.

vLLM detects the stored method by itself; the only one that it applies while it loads is fp8 of 16-bit weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

HOW_TO_STORE = {
    "int8": "a compressed-tensors checkpoint of 8-bit integers",
    "int4": "a compressed-tensors checkpoint of 4-bit integers",
    "awq": "an awq checkpoint",
    "gptq": "a gptq checkpoint",
    "none": "a 16-bit checkpoint",
    "fp8": "a 16-bit or fp8 checkpoint",
}
"""What each method needs."""


@dataclass(frozen=True, slots=True)
class Storage:
    """The quantization method in the checkpoint's configuration; None for weights that are not quantized.

    `formats` are the number formats of its weights, if the method has several: "int8", "int4", "float8", ….
    """

    method: str | None = None
    formats: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.method is None:
            return "not quantized"
        return f"{self.method} ({', '.join(self.formats)})" if self.formats else self.method

    def accepts(self, mode: str) -> bool:
        """Whether weights that are stored so can be loaded with this method. An unknown one is not refused here."""
        match mode:
            case "none":
                return self.method is None
            case "fp8":
                return self.method in (None, "fp8", "fbgemm-fp8") or self._is("float8")
            case "int8" | "int4":
                return self._is(mode)
            case "awq" | "gptq":
                return self.method == mode
            case _:
                return True

    def _is(self, number_format: str) -> bool:
        return self.method == "compressed-tensors" and self.formats == (number_format,)


def storage(config: Mapping[str, Any]) -> Storage:
    """How the weights are stored, according to config.json."""
    quantization = _quantization(config)
    if quantization is None:
        return Storage()
    method = str(quantization.get("quant_method") or "").lower().replace("_", "-")
    if method.startswith("modelopt"):
        method = "modelopt"
    groups = quantization.get("config_groups")
    formats = tuple(dict.fromkeys(_formats(groups))) if isinstance(groups, Mapping) else ()
    return Storage(method or "an unnamed method", formats)


def _quantization(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for part in (config, config.get("text_config")):
        if isinstance(part, Mapping):
            for key in ("quantization_config", "compression_config"):
                if isinstance(part.get(key), Mapping):
                    found: Mapping[str, Any] = part[key]
                    return found
    return None


def _formats(groups: Mapping[str, Any]) -> Iterator[str]:
    for group in groups.values():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping):
            yield f"{weights.get('type', 'int')}{weights.get('num_bits', '?')}"
