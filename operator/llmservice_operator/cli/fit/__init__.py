"""`kubectl llm fit`: whether a model fits a GPU, before a pod exists and without a cluster.

Exit status: 0 for every result, 1 if the command failed; with --exit-code 3 if the model does not fit, and 4 if the
result is unknown.
"""

from __future__ import annotations

import argparse
import re

from llmservice_operator.cli.completion import names
from llmservice_operator.cli.parsing import completed, give_examples
from llmservice_operator.cli.system import System
from llmservice_operator.gpu_memory.request import VLLM

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Those that vLLM takes."""
OLDEST = (0, 11)
"""The oldest version of vLLM whose published starts the estimate was compared with."""
STATUS = {"Fits": 0, "DoesNotFit": 3, "Unknown": 4}


def define(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    give_examples(
        parser,
        "fit -f chat.yaml --model-config config.json --gpu H100",
        "fit -f chat.yaml --model ./Qwen3-8B --gpu-memory 44.39 -o json",
    )
    parser.set_defaults(run=run)
    files = names.Files()
    manifest = parser.add_argument(
        "-f", "--filename", required=True, metavar="FILE", help="manifest with the LLMService; - for stdin"
    )
    completed(manifest, files)
    model = parser.add_mutually_exclusive_group(required=True)
    completed(
        model.add_argument(
            "--model", metavar="DIRECTORY", help="the model's directory, with its config.json or params.json"
        ),
        files,
    )
    completed(
        model.add_argument("--model-config", metavar="FILE", help="the model's config.json, or Mistral's params.json"),
        files,
    )
    size = parser.add_mutually_exclusive_group()
    index = size.add_argument(
        "--model-index", metavar="FILE", help="its model.safetensors.index.json, for the size of its weights"
    )
    completed(index, files)
    size.add_argument(
        "--parameters", type=_count, metavar="N", help="its number of parameters, such as 8030261248 or 8.03e9"
    )
    draft = parser.add_argument(
        "--draft-model-config", metavar="FILE", help="config.json of the draft model (spec.engine.speculative.model)"
    )
    completed(draft, files)
    gpu = parser.add_mutually_exclusive_group()
    gpu.add_argument(
        "--gpu", metavar="NAME", help="the GPU, such as H100 or the node's label; absent: the products of the spec"
    )
    gpu.add_argument("--gpu-memory", type=_gib, metavar="GiB", help="total memory of the GPU, as PyTorch reports it")
    parser.add_argument(
        "--max-loras",
        type=_adapters,
        metavar="N",
        help="number of LoRA adapters at the same time, in place of spec.engine.maxLoras",
    )
    parser.add_argument(
        "--max-lora-rank",
        type=int,
        choices=RANKS,
        default=16,
        metavar="N",
        help=f"their largest rank: {', '.join(map(str, RANKS))} (default: %(default)s)",
    )
    parser.add_argument(
        "--vllm",
        type=_version,
        default=VLLM,
        metavar="VERSION",
        help="version of vLLM, such as 0.19 (default: {}.{}, the runtime's)".format(*VLLM),
    )
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="output format (default: %(default)s)"
    )
    parser.add_argument(
        "--exit-code", action="store_true", help="exit with 3 if it does not fit, 4 if the result is unknown"
    )


def run(options: argparse.Namespace, outside: System) -> int:
    """Print the result. Raises Failure if a file can't be read."""
    from llmservice_operator.cli.fit import arguments, output
    from llmservice_operator.cli.terminal import give, say
    from llmservice_operator.gpu_memory.fit import fit

    if not OLDEST <= options.vllm <= VLLM:
        version, oldest, newest = (f"{major}.{minor}" for major, minor in (options.vllm, OLDEST, VLLM))
        say(f"vLLM {version} is not known: the estimate was compared with {oldest} to {newest}.")
    found = [(gpu, fit(request)) for gpu, request in arguments.requests(options)]
    # If several products are acceptable, the service may get any of them: the one with the least memory left counts.
    gpu, worst = min(found, key=lambda each: (-STATUS[each[1].verdict], each[1].ledger.cache or 0))
    if options.output == "json":
        from llmservice_operator.cli import wire
        from llmservice_operator.cli.fit.document import document

        give(wire.text(document(gpu, worst)))
    else:
        give(output.screen(gpu, worst))
    return STATUS[worst.verdict] if options.exit_code else 0


def _adapters(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 4096:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 4096")
    return int(text)


def _version(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"v?(\d{1,3})\.(\d{1,3})(\.\w+)*", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a version such as 0.19")
    return int(found[1]), int(found[2])


def _count(text: str) -> int:
    number = _number(text, "a number of parameters such as 8.03e9")
    if not 1 <= number <= 1e15:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of parameters from 1 to 1e15")
    return round(number)


def _gib(text: str) -> float:
    number = _number(text, "an amount in GiB such as 79.18")
    if not 0.1 <= number <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a GPU's memory in GiB")
    return number


def _number(text: str, what: str) -> float:
    try:
        return float(text.removesuffix("GiB").removesuffix("Gi"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None
