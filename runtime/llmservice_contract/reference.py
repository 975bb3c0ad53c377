"""The reference page of the engine's environment variables, printed from the table of settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmservice_contract import container
from llmservice_contract.causes import CAUSES, UNKNOWN
from llmservice_contract.choices import AcceleratorType
from llmservice_contract.engine_settings import BY_FIELD, SETTINGS
from llmservice_contract.setting import Setting

HEAD = """\
<!-- Printed by `python -m llmservice_contract` from runtime/llmservice_contract/engine_settings.py. -->
# The engine's variables

`python -m llmservice_runtime` reads these environment variables. The operator sets them from the fields named
here; outside Kubernetes, set them yourself. A variable with the value of a field has the field's name:
`spec.engine.maxNumSeqs` is `ENGINE_MAX_NUM_SEQS`. The other names are those of earlier versions; they are read too, and
two names of one setting must not contradict each other. An empty value counts as absent. A value that is not allowed
stops the runtime at once, before vLLM is loaded, with exit code {wrong}; all such values are named together.
"""

TAIL = """
## Supported model sources

| MODEL_SOURCE | How vLLM loads it |
|---|---|
| `/models/NAME` | The directory is read as it is, without any hub (`HF_HUB_OFFLINE=1`). The same holds for `s3://`. |
| `ORG/NAME`, `hf://ORG/NAME` | vLLM's hub client downloads it into `HF_HOME`; `HF_TOKEN` opens gated ones. |
| `https://HOST/ORG/NAME` | The same client asks the hub at HOST (`HF_ENDPOINT`). vLLM loads no single file by https. |
| `s3://BUCKET/PATH` | The Run:ai streamer reads the safetensors from S3; `*.json` and the tokenizer are copied \
to `VLLM_CACHE_ROOT` first. `AWS_ENDPOINT_URL` names another S3. |

## Exit codes

| Code | Meaning |
|---|---|
| {wrong} | A value is not allowed, or contradicts another one or the model. |
| {engine} | vLLM is not installed, or not the one for this accelerator. |
| {model} | The model could not be read: no such path, no config.json, refused by the hub. |
| {first} to {last} | One for each cause that the runtime finds in vLLM's output; see [operations](../operations.md). |
| other | vLLM's own; 128 + N if signal N ended it. |

## Stopping

SIGTERM, and `python -m llmservice_runtime drain` as a preStop hook, let the engine finish what it has begun: for
SHUTDOWN_LAME_DUCK_SECONDS it takes requests but is not ready, then for SHUTDOWN_DRAIN_SECONDS at most it takes none and
answers the ones it has; only then vLLM is stopped. A pod's grace period has to be longer than both together, by some
15 s.

## Credentials

These reach vLLM under the same names, from the Secret of `spec.model.credentialsRef`: {credentials}.
"""


def engine_variables() -> str:
    """The whole page, in Markdown."""
    codes = {
        "wrong": container.EXIT_WRONG_SETTINGS,
        "engine": container.EXIT_NO_ENGINE,
        "model": container.EXIT_NO_MODEL,
        "first": min(_of_causes()),
        "last": max(_of_causes()),
    }
    credentials = ", ".join(f"`{name}`" for name in container.CREDENTIAL_VARIABLES)
    return HEAD.format(**codes) + "\n".join(_rows()) + "\n" + TAIL.format(**codes, credentials=credentials)


def _of_causes() -> set[int]:
    """The exit codes of one cause each, without those that have a row of their own."""
    named = {container.EXIT_WRONG_SETTINGS, container.EXIT_NO_ENGINE, container.EXIT_NO_MODEL, UNKNOWN.exit_code}
    return {cause.exit_code for cause in CAUSES} - named


def _rows() -> Iterator[str]:
    yield ""
    yield "| Variable | Other names | From | Becomes | Allowed | Meaning | When absent |"
    yield "|---|---|---|---|---|---|---|"
    for setting in SETTINGS:
        cells = (
            f"`{setting.name}`",
            ", ".join(f"`{alias}`" for alias in setting.aliases) or "–",
            f"`{setting.field}`" if setting.field else "–",
            ", ".join(setting.vllm_names) or "–",
            setting.allowed.replace("|", "\\|"),
            " ".join((setting.description, *_devices(setting))),
            setting.absent or f"{setting.text(setting.default)}.",
        )
        yield "| " + " | ".join(cells) + " |"


def _devices(setting: Setting[Any]) -> Iterator[str]:
    """The devices on which it can't be set."""
    others = [device for device in AcceleratorType if device not in setting.devices]
    if not others:
        return
    only = "" if setting.default is None else f" other than {setting.text(setting.default)}"
    instead = f"; use `{BY_FIELD[setting.instead].name}` instead" if setting.instead else ""
    yield f"No value{only} is allowed with {' or '.join(others)}: {setting.elsewhere}{instead}."
