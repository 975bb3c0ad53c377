"""Models that would need code of their own repository are known before they are started."""

from __future__ import annotations

from typing import Any

import pytest

from llmservice_runtime.model import remote_code
from llmservice_runtime.model.inspection import facts

AUTO_MAP = {"AutoConfig": "configuration_evil.Evil", "AutoModelForCausalLM": "modeling_evil.Evil"}


@pytest.mark.parametrize(
    ("config", "needed"),
    [
        ({"model_type": "evil", "auto_map": AUTO_MAP}, True),
        ({"model_type": "llama", "auto_map": AUTO_MAP}, False),
        ({"model_type": "evil"}, False),
        ({"model_type": "evil", "auto_map": {"AutoTokenizer": "a.B"}}, False),
        ({"model_type": ["evil"], "auto_map": AUTO_MAP}, False),
        ({"auto_map": "a.B"}, False),
    ],
)
def test_code_is_needed_for_unknown_architectures_alone(
    config: dict[str, Any], needed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_code, "known_types", lambda: frozenset({"llama"}))
    assert facts(config, None).remote_code is (True if needed else None)


def test_where_nothing_is_known_vllm_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_code, "known_types", frozenset)
    assert not remote_code.needs_remote_code({"model_type": "evil", "auto_map": AUTO_MAP})
