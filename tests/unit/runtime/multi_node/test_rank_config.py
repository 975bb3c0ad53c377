"""The configuration of an agent, and when two ranks belong together."""

from __future__ import annotations

from pathlib import Path

from llmservice_contract import causes
from llmservice_contract.container import GROUP_PORT, PROBE_PORT
from llmservice_runtime.launcher.command import make_command
from llmservice_runtime.launcher.settings import Settings, read_settings
from llmservice_runtime.multi_node.rank_config import STARTUP_SECONDS, Ports, RankConfig, Timeouts, is_culprit, ranks
from llmservice_runtime.multi_node.start import digest, make_config

ENVIRON = {
    "MODEL_NAME": "/models/tiny",
    "TENSOR_PARALLEL_SIZE": "4",
    "NODES_PER_REPLICA": "2",
    "MASTER_ADDRESS": "chat-0-0.chat",
}


def settings(**environ: str) -> Settings:
    return read_settings(ENVIRON | environ)


def digest_of(version: str = "0.4.0", **environ: str) -> str:
    return digest(make_command(settings(**environ), None, "safetensors", {}).shared, version)


def test_the_place_follows_from_the_settings() -> None:
    made = make_config(
        settings(NODE_RANK="1", PORT="9000", LAME_DUCK_SECONDS="7", DRAIN_SECONDS="120"), "0a", Path("/dev/log")
    )
    assert made == RankConfig(
        rank=1,
        nodes=2,
        master="chat-0-0.chat",
        digest="0a",
        termination_log="/dev/log",
        drain_seconds=127,
        ports=Ports(9000, GROUP_PORT, PROBE_PORT),
        startup_seconds=STARTUP_SECONDS,
        pace=Timeouts(),
    )
    assert make_config(settings(STARTUP_BUDGET_SECONDS="90"), "0a", Path("/")).startup_seconds == 90


def test_it_survives_being_an_argument() -> None:
    place = make_config(settings(), "0a", Path("/dev/log"))
    assert RankConfig.from_json(place.to_json()) == place


def test_ranks_of_one_group_have_the_same_digest_and_others_another() -> None:
    assert digest_of(NODE_RANK="0") == digest_of(NODE_RANK="1")
    assert (
        len({digest_of(), digest_of("0.4.1"), digest_of(MODEL_NAME="/models/other"), digest_of(KV_CACHE_DTYPE="fp8")})
        == 4
    )


def test_an_engine_that_ended_after_another_one_or_says_that_it_lost_others_is_no_culprit() -> None:
    assert is_culprit(1, another_ended=False)
    assert not is_culprit(1, another_ended=True)
    assert not is_culprit(causes.RANKS_LOST.exit_code, another_ended=False)


def test_ranks_are_told_as_one_says_them() -> None:
    assert [ranks(each) for each in ([1], [3, 1], [1, 2, 3])] == ["rank 1", "ranks 1 and 3", "ranks 1, 2 and 3"]
