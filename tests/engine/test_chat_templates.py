"""A chat template is text of a model's or a service's author: vLLM renders it without access to Python's objects."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from support.engine import vllm_python

SCRIPT = """
import json, sys
from types import SimpleNamespace
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast
from vllm.renderers.hf import safe_apply_chat_template

tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0}, unk_token="a")))
messages = [{"role": "user", "content": "hello"}]
found = {}
for template in json.loads(sys.argv[1]):
    try:
        found[template] = safe_apply_chat_template(
            SimpleNamespace(), tokenizer, messages, chat_template=template, tokenize=False
        )
    except Exception as error:
        found[template] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""
HARMLESS = "{{ messages[0]['content'] }}"
UNSAFE = (
    "{{ ''.__class__.__mro__ }}",
    "{{ cycler.__init__.__globals__.os.getcwd() }}",
    "{{ raise_exception.__globals__.os }}",
    "{{ messages.append(1) }}",
)


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    """The prompt, or the error, of each template."""
    done = subprocess.run(
        [vllm_python(), "-c", SCRIPT, json.dumps([HARMLESS, *UNSAFE])],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_a_template_sees_messages(rendered: dict[str, str]) -> None:
    assert rendered[HARMLESS] == "hello"


@pytest.mark.parametrize("template", UNSAFE)
def test_a_template_reaches_no_objects_of_python(rendered: dict[str, str], template: str) -> None:
    assert "unsafe" in rendered[template]
