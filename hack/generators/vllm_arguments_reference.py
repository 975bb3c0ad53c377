"""Prints docs/reference/vllm-arguments.md from llmservice_contract.engine_arguments."""

import sys
from collections.abc import Iterator

from llmservice_contract import engine_arguments
from llmservice_contract.engine_arguments import ARGUMENTS, VARIABLES, Argument, Handling, ruling

INTRODUCTION = f"""\
# vLLM's arguments

<!-- Printed by hack/generators/vllm_arguments_reference.py from llmservice_contract.engine_arguments; change that. -->

Every argument of `vllm serve` {engine_arguments.VLLM_VERSION}, and who sets it in an LLMService:

- **a field**: set that field; it has bounds and is checked with the others.
- **`extraArgs`**: `spec.engine.extraArgs` may have it, by its name without dashes.
- **the runtime**: it is the same for all services, or follows from fields.
- **refused**: it can not be set, for the reason that is given.

```yaml
spec:
  engine:
    extraArgs:
      block-size: 32                        # a whole number, or text
      enable-dbo: "true"                    # a switch: "true" or "false", in quotation marks
      cudagraph-capture-sizes: 1 2 4 8      # several values: separated by spaces
      mm-processor-kwargs: '{{"max_pixels": 1003520}}'
```

At most {engine_arguments.MOST} arguments, each with a value of at most {engine_arguments.LONGEST_VALUE} characters.
A text holds letters, digits and `. _ , : + -`. JSON is an object or list; its keys name neither code nor files, and its
texts hold no `/`. A platform allows fewer by the chart values `allowed.extraArgs` and `allowed.extraArgsExcept`. vLLM
checks the value's meaning when it starts; one that it refuses is a failed rollout, which is rolled back. With an
argument that changes how much GPU memory is needed, such as `cpu-offload-gb`, the condition `Fits` is Unknown.

| Argument | Set by | Values, or why not |
|---|---|---|
"""
VARIABLES_HEAD = f"""
## Environment variables

`spec.engine.env` may have these variables, at most {engine_arguments.MOST}, with values of letters, digits and
`. _ , : ; = ^ + -`. The pages of vLLM, NCCL, RCCL and PyTorch say what they mean. Variables that name files, addresses
or code, or that log requests, are not among them. A platform allows fewer by the chart values `allowed.engineEnv` and
`allowed.engineEnvExcept`.

"""


def main() -> None:
    """Prints the page."""
    sys.stdout.write(INTRODUCTION + "".join(_rows()) + VARIABLES_HEAD)
    sys.stdout.write(", ".join(f"`{name}`" for name in sorted(VARIABLES)) + ".\n")


def _rows() -> Iterator[str]:
    for argument in ARGUMENTS.values():
        also = "".join(f", `{'--' if len(other) > 3 else '-'}{other}`" for other in argument.also)
        yield f"| `--{argument.name}`{also} | " + " | ".join(_told(argument)) + " |\n"


def _told(argument: Argument) -> tuple[str, str]:
    found = ruling(argument.name)
    if found is None:
        return "refused", "Not classified yet."
    match found.handling:
        case Handling.FIELD:
            return f"`{found.why}`", "–"
        case Handling.EXTRA:
            return "`extraArgs`", _sentence(argument.allowed)
        case _:
            return found.handling.value, _sentence(found.why)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


if __name__ == "__main__":
    main()
