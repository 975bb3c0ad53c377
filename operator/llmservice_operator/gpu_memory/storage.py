"""Size of parameters in memory: 16 bits per element, or as the checkpoint's quantization config states.

The checkpoint decides. The only method that vLLM applies while loading is fp8 for 16-bit weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llmservice_operator.gpu_memory.config import Config, NotModelled
from llmservice_operator.gpu_memory.matrix import Matrix, Part
from llmservice_operator.gpu_memory.model import Indivisible
from llmservice_operator.gpu_memory.patterns import Work, matcher

_LINEAR = "Linear"

MOST_RULES = 128
"""Maximum number of formats in one checkpoint. Some have one for each layer."""


@dataclass(frozen=True, slots=True)
class Format:
    """How the elements of a quantized matrix are stored."""

    bits: int
    """Bits per element."""
    scale_bytes: float = 4
    """Bytes per scale, including its zero point."""
    group: int | None = None
    """Elements along an input that share a scale; None for all."""
    rows: int | None = 1
    """Rows that share a scale; None for the whole matrix."""
    pad: int = 1
    """The inner size of experts is padded to a multiple of this."""

    def bytes(self, matrix: Matrix) -> int:
        """Bytes of the matrix and its scales."""
        rows, columns = self._padded(matrix)
        groups = -(-matrix.columns // self.group) if self.group else 1
        bands = -(-matrix.rows // self.rows) if self.rows else 1
        return matrix.copies * (-(-rows * columns * self.bits // 8) + int(groups * bands * self.scale_bytes))

    def check(self, matrix: Matrix, gpus: int) -> None:
        """Checks that the matrix can be split into whole groups on each of ``gpus`` GPUs. Raises Indivisible."""
        experts = matrix.copies > 1
        if gpus == 1 and not experts:
            return
        group, rows = self.group or 1, self.rows or 1
        if self.pad == 1 and matrix.across and matrix.columns % group:
            raise Indivisible.shares(
                matrix.columns * gpus, f"numbers in groups of {group} (the checkpoint's quantization)", gpus
            )
        share = matrix.rows // matrix.merged
        if rows > 1 and not matrix.across and matrix.merged > 1 and share % rows:
            raise Indivisible.shares(share * gpus, f"rows in blocks of {rows} (the checkpoint's quantization)", gpus)

    def _padded(self, matrix: Matrix) -> tuple[int, int]:
        if self.pad == 1 or matrix.part is not Part.EXPERTS:
            return matrix.rows, matrix.columns
        if matrix.across:
            return matrix.rows, -(-matrix.columns // self.pad) * self.pad
        share = matrix.rows // matrix.merged
        return matrix.merged * -(-share // self.pad) * self.pad, matrix.columns


@dataclass(frozen=True)
class Storage:
    """How each parameter is stored."""

    method: str | None = None
    """The checkpoint's method; None for 16 bits."""
    formats: Sequence[tuple[Callable[[str], bool], Format]] = ()
    """Formats of linear layers by a match of their path in the checkpoint; the first match counts."""
    ignored: Callable[[str], bool] = field(default=lambda name: False)
    head: bool = False
    """Whether the head is quantized as well."""
    cache_bits: int | None = None
    """Bits per element of the KV cache that the checkpoint requires; None if it does not."""
    _known: dict[str, Format | None] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Cached formats by path."""

    def bytes(self, matrix: Matrix) -> int:
        """Bytes of one parameter on one GPU."""
        found = self.format_of(matrix)
        if found is None:
            return matrix.elements * (4 if matrix.wide else 2)
        return found.bytes(matrix) + (2 * matrix.elements if matrix.unpacked else 0)

    def stored_bytes(self, matrix: Matrix) -> int:
        """Bytes of one parameter in the checkpoint's files."""
        found = self.format_of(matrix)
        return replace(found, pad=1).bytes(matrix) if found is not None else 2 * matrix.elements

    def check(self, matrix: Matrix, gpus: int) -> None:
        """Checks that the part of a GPU consists of whole groups and blocks. Raises Indivisible."""
        found = self.format_of(matrix)
        if found is not None:
            found.check(matrix, gpus)

    def format_of(self, matrix: Matrix) -> Format | None:
        """The format of a quantized matrix; None for 16 or 32 bits."""
        quantizable = matrix.linear or (self.head and matrix.part is Part.HEAD and matrix.columns > 1)
        if not quantizable or not self.formats:
            return None
        if matrix.name not in self._known:
            self._known[matrix.name] = self._named(matrix.name)
        return self._known[matrix.name]

    def _named(self, name: str) -> Format | None:
        if self.ignored(name):
            return None
        return next((found for matches, found in self.formats if matches(name)), None)


def storage(config: Config, method: str) -> Storage:
    """How the checkpoint of ``config`` is stored with the quantization ``method`` of the spec. Raises NotModelled."""
    found = quantization_config(config)
    if found is None:
        return Storage("fp8", [(_every, Format(8, rows=None))]) if method == "fp8" else Storage()
    name = str(found.get("quant_method") or "").lower().replace("_", "-")
    if name.startswith("modelopt"):
        name = "modelopt"
    reader = _READERS.get(name)
    if reader is None:
        raise NotModelled(
            f"its weights are stored by {name[:40] or 'an unnamed method'}, whose sizes the operator does not know"
        )
    return reader(found, Work())


def quantization_config(config: Config) -> Mapping[str, Any] | None:
    """The quantization part of config.json; None for plain weights."""
    for level in (config, config.text()):
        for key in ("quantization_config", "compression_config"):
            inner = level.values.get(key)
            if isinstance(inner, Mapping):
                return inner
    return None


def _every(_: str) -> bool:
    return True


def _fp8(found: Mapping[str, Any], work: Work) -> Storage:
    block = found.get("weight_block_size")
    shape = _numbers(block, 2)
    each = Format(8, rows=shape[0], group=shape[1]) if shape else Format(8, rows=None)
    return Storage("fp8", [(_every, each)], _names(found, work, "modules_to_not_convert", "ignored_layers"))


def _fbgemm(found: Mapping[str, Any], work: Work) -> Storage:
    return Storage("fbgemm-fp8", [(_every, Format(8))], _names(found, work, "modules_to_not_convert"))


def _awq(found: Mapping[str, Any], work: Work) -> Storage:
    bits, group = _number(found, ("w_bit", "bits"), 4), _number(found, ("q_group_size", "group_size"), 128)
    zero = bits / 8 if found.get("zero_point", True) else 0
    each = Format(bits, 2 + zero, group)
    return Storage("awq", [(_every, each)], _names(found, work, "modules_to_not_convert"))


def _gptq(found: Mapping[str, Any], work: Work) -> Storage:
    bits, group = _number(found, ("bits",), 4), _number(found, ("group_size",), 128, lowest=-1)
    each = Format(bits, 2 + bits / 8, group if group > 0 else None)
    rules: list[tuple[Callable[[str], bool], Format]] = []
    skipped: list[str] = []
    dynamic = found.get("dynamic")
    if isinstance(dynamic, Mapping) and len(dynamic) > MOST_RULES:
        raise NotModelled(f"its quantization_config has {len(dynamic)} dynamic rules; at most {MOST_RULES} are read")
    for pattern, change in dynamic.items() if isinstance(dynamic, Mapping) else ():
        if str(pattern).startswith("-:"):
            skipped.append(f"re:{str(pattern)[2:]}")
        elif isinstance(change, Mapping):
            own, own_group = _number(change, ("bits",), bits), _number(change, ("group_size",), group, lowest=-1)
            rules.append(
                (
                    _matcher([f"re:{str(pattern).removeprefix('+:')}"], work),
                    Format(own, 2 + own / 8, own_group if own_group > 0 else None),
                )
            )
    listed = _list(found.get("modules_to_not_convert"))
    return Storage(
        "gptq", [*rules, (_every, each)], _matcher([*skipped, *listed], work), head=bool(found.get("lm_head"))
    )


def _mxfp4(found: Mapping[str, Any], work: Work) -> Storage:
    """As in gpt-oss: only experts, whose kernels require an inner size in multiples of 256."""
    each = Format(4, 1, group=32, pad=256)
    return Storage("mxfp4", [(lambda name: ".experts." in name, each)], _names(found, work, "modules_to_not_convert_"))


def _compressed_tensors(found: Mapping[str, Any], work: Work) -> Storage:
    groups = found.get("config_groups")
    rules: list[tuple[Callable[[str], bool], Format]] = []
    head = False
    if isinstance(groups, Mapping) and len(groups) > MOST_RULES:
        raise NotModelled(f"its quantization_config has {len(groups)} config_groups; at most {MOST_RULES} are read")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if not isinstance(weights, Mapping):
            continue
        targets = _list(group.get("targets")) or [_LINEAR]
        head = head or any("lm_head" in target for target in targets)
        rules.append(
            (
                _every if _LINEAR in targets else _matcher(targets, work),
                _weights(weights, str(group.get("format") or found.get("format") or "")),
            )
        )
    if not rules:
        raise NotModelled("its quantization_config has no config_groups with weights")
    scheme = found.get("kv_cache_scheme")
    bits = _number(scheme, ("num_bits",), 8) if isinstance(scheme, Mapping) else None
    return Storage("compressed-tensors", rules, _names(found, work, "ignore"), head=head, cache_bits=bits)


def _weights(weights: Mapping[str, Any], layout: str) -> Format:
    bits, strategy = _number(weights, ("num_bits",), 8), str(weights.get("strategy") or "channel")
    group = _number(weights, ("group_size",), 128, lowest=-1)
    narrow = layout.startswith(("nvfp4", "mxfp4")) or (bits == 4 and weights.get("type") == "float")
    scale = 1.0 if narrow else 2.0 if bits < 8 else 4.0
    if strategy == "block":
        shape = _numbers(weights.get("block_structure"), 2) or (128, 128)
        return Format(bits, 4, shape[1], shape[0])
    if strategy in ("group", "tensor_group") and group > 0:
        return Format(bits, scale + (0 if weights.get("symmetric", True) else bits / 8), group)
    return Format(bits, 4, rows=None if strategy == "tensor" else 1)


def _modelopt(found: Mapping[str, Any], work: Work) -> Storage:
    algorithm = str(found.get("quant_algo") or "").upper()
    if not algorithm and isinstance(found.get("config_groups"), Mapping):
        inner = _compressed_tensors(found, work)
        return Storage("modelopt", inner.formats, inner.ignored, cache_bits=inner.cache_bits)
    formats = {
        "FP8": Format(8, rows=None),
        "NVFP4": Format(4, 1, 16),
        "FP8_PER_CHANNEL_PER_TOKEN": Format(8),
        "FP8_PB_WO": Format(8, 4, 128, 128),
    }
    if algorithm not in formats:
        raise NotModelled(
            f"its weights are stored by modelopt's {algorithm[:40] or 'unnamed'} method, whose sizes the operator "
            f"does not know"
        )
    cache = str(found.get("kv_cache_quant_algo") or "").upper()
    ignored = _names(found, work, "exclude_modules", "ignore", "modules_to_not_convert")
    return Storage("modelopt", [(_every, formats[algorithm])], ignored, cache_bits=8 if cache == "FP8" else None)


_READERS: Mapping[str, Callable[[Mapping[str, Any], Work], Storage]] = {
    "fp8": _fp8,
    "fbgemm-fp8": _fbgemm,
    "awq": _awq,
    "gptq": _gptq,
    "gptq-marlin": _gptq,
    "awq-marlin": _awq,
    "mxfp4": _mxfp4,
    "gpt-oss-mxfp4": _mxfp4,
    "compressed-tensors": _compressed_tensors,
    "modelopt": _modelopt,
}


def _names(found: Mapping[str, Any], work: Work, *keys: str) -> Callable[[str], bool]:
    return _matcher([name for key in keys for name in _list(found.get(key))], work)


def _list(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def _matcher(patterns: Sequence[str], work: Work) -> Callable[[str], bool]:
    """A function that returns whether a path matches, see ``patterns``. Multimodal checkpoints have another prefix for
    the language model."""
    return matcher((_plain(pattern) for pattern in patterns), work)


def _plain(pattern: str) -> str:
    for dot in (".", r"\."):
        pattern = pattern.replace(f"model{dot}language_model{dot}", f"model{dot}").replace(f"language_model{dot}", "")
    return pattern


def _number(values: Mapping[str, Any], names: Sequence[str], default: int, lowest: int = 1) -> int:
    for name in names:
        value = values.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            if not lowest <= value <= 1 << 20:
                raise NotModelled(f"its quantization_config has {name}: {value}, which is not a size")
            return value
    return default


def _numbers(value: Any, count: int) -> tuple[int, ...] | None:
    good = isinstance(value, list | tuple) and len(value) == count
    if not good or not all(isinstance(each, int) and 1 <= each <= 1 << 20 for each in value):
        return None
    return tuple(value)
