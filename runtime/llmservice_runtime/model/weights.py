"""The format in which vLLM may load weights: only safetensors.

Files in PyTorch's format (*.bin, *.pt) are pickles, which can contain code. vLLM's default uses them if there are no
safetensors, so the runtime always sets the format. Mistral's format is safetensors too, in files of other names; if
they exist, vLLM uses the configuration that belongs to them, so the weights must be loaded from them too.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from llmservice_contract import causes, mistral_format
from llmservice_contract.source import Directory, ObjectPrefix, Repository, Source
from llmservice_runtime.model import hub
from llmservice_runtime.model.unreadable import NAMES_READ, NAMES_SHOWN, ModelUnreadable

CONFIG = "config.json"
ADAPTER_CONFIG, ADAPTER = "adapter_config.json", "adapter_model"
SAFETENSORS = "safetensors"
MISTRAL = "mistral"
STREAMED = "runai_streamer"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def load_format(source: Source, revision: str | None) -> str:
    """The value of --load-format. Raises ModelUnreadable if there are only pickles. May ask the hub; if it does not
    answer, the local cache decides, and without a cache vLLM reports the error."""
    match source:
        case ObjectPrefix():
            return STREAMED
        case Directory(path):
            return format_of(_names(Path(path)), path)
        case Repository(name):
            try:
                names = hub.names(source, revision)
            except ModelUnreadable:
                names = hub.cached_names(source, revision)
            return format_of(names, name)


def format_of(names: Iterable[str], where: str, field: str = "spec.model.source") -> str:
    """The value for a model with these file names. Raises ModelUnreadable."""
    top = [name for name in names if "/" not in name]
    check_kind(top, where, field)
    weights = [name for name in top if name.endswith(".safetensors")]
    if any(name.startswith("consolidated") for name in weights):
        return MISTRAL
    pickles = sorted(name for name in top if name.endswith(_PICKLES) and name != "training_args.bin")
    if pickles and not weights:
        more = ", …" if len(pickles) > NAMES_SHOWN else ""
        raise ModelUnreadable(
            causes.NO_WEIGHTS,
            f"{where} has no *.safetensors but {', '.join(pickles[:NAMES_SHOWN])}{more}: these are pickles, which can "
            "carry code and are not loaded.",
            field=field,
            fix=f"Choose a model with *.safetensors in {field}, or convert this one.",
        )
    return SAFETENSORS


def check_kind(names: Iterable[str], where: str, field: str = "spec.model.source") -> None:
    """Raises ModelUnreadable if files with these names are known to be something else than a model that vLLM loads."""
    top = {name for name in names if "/" not in name}
    if any(name.endswith(".safetensors") and not name.startswith(ADAPTER) for name in top):
        return
    quantized = sorted(name for name in top if name.lower().endswith(".gguf"))
    if quantized:
        more = ", …" if len(quantized) > NAMES_SHOWN else ""
        raise ModelUnreadable(
            causes.NO_WEIGHTS,
            f"{where} has no *.safetensors but {', '.join(quantized[:NAMES_SHOWN])}{more}: vLLM of this image does not "
            "load GGUF files.",
            field=field,
            fix=f"Set {field} to the repository with *.safetensors that they were made from, or to one with weights in "
            "AWQ, GPTQ or FP8.",
        )
    if ADAPTER_CONFIG in top and not top & {CONFIG, mistral_format.PARAMS}:
        raise ModelUnreadable(
            causes.MODEL_UNREADABLE,
            f"{where} has {ADAPTER_CONFIG} and no {CONFIG}: it is a LoRA adapter and no whole model.",
            field=field,
            fix=f"Set {field} to its base model, and list the adapter in spec.adapters.",
        )


def _names(directory: Path) -> list[str]:
    try:
        return [entry.name for entry in islice(directory.iterdir(), NAMES_READ * 50)]
    except OSError:
        return []
