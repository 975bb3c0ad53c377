"""In which form vLLM may load a model's weights: safetensors alone.

Files of PyTorch's own format (*.bin, *.pt) are pickles, which can carry code. vLLM's default falls back to them where
there are no safetensors, so the form is always named. Mistral's own form is safetensors too, in files of other names;
vLLM takes the configuration that goes with it wherever these files are, so the weights have to be taken from them as
well.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from llmservice_contract import causes
from llmservice_contract.source import Directory, ObjectPrefix, Repository, Source
from llmservice_runtime.model import hub
from llmservice_runtime.model.unreadable import NAMES_READ, NAMES_SHOWN, ModelUnreadable

SAFETENSORS = "safetensors"
MISTRAL = "mistral"
STREAMED = "runai_streamer"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def load_format(source: Source, revision: str | None) -> str:
    """The value of --load-format. Raises ModelUnreadable if there are only pickles. May ask the hub; where it does
    not answer, what was downloaded before decides, and without that vLLM will say so."""
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
    """The value for a model that has files of these names. Raises ModelUnreadable."""
    top = [name for name in names if "/" not in name]
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


def _names(directory: Path) -> list[str]:
    try:
        return [entry.name for entry in islice(directory.iterdir(), NAMES_READ * 50)]
    except OSError:
        return []
