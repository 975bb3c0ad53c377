"""Settings: what a platform team sets is in force, and what is wrong is said all at once."""

import pytest

from llmservice_operator.settings import SettingsError, from_environment


def test_nothing_need_be_set() -> None:
    settings = from_environment({})
    assert settings.namespaces == ()
    assert settings.leader_election
    assert settings.platform.image_pull_policy == "IfNotPresent"


def test_what_is_set_is_in_force() -> None:
    settings = from_environment(
        {
            "LLMSERVICE_NAMESPACES": "team-a, team-b,team-a",
            "LLMSERVICE_RUNTIME_IMAGE_CPU": "localhost/llmservice/runtime-cpu:0.1.0",
            "LLMSERVICE_IMAGE_PULL_POLICY": "never",
            "LLMSERVICE_IMAGE_PULL_SECRETS": "one,two",
            "LLMSERVICE_LEADER_ELECTION": "false",
            "LLMSERVICE_RESYNC_SECONDS": "30",
        }
    )
    assert settings.namespaces == ("team-a", "team-b")
    assert settings.platform.runtime_image_cpu == "localhost/llmservice/runtime-cpu:0.1.0"
    assert settings.platform.image_pull_policy == "Never"
    assert settings.platform.image_pull_secrets == ("one", "two")
    assert not settings.leader_election
    assert settings.resync_seconds == 30


def test_every_problem_is_said_at_once_with_variable_value_and_what_is_allowed() -> None:
    with pytest.raises(SettingsError) as caught:
        from_environment(
            {
                "LLMSERVICE_WORKERS": "0",
                "LLMSERVICE_LOG_FORMAT": "xml",
                "LLMSERVICE_LEADER_ELECTION": "perhaps",
                "LLMSERVICE_NAMESPACES": "Team_A",
            }
        )
    problems = caught.value.problems
    assert "LLMSERVICE_WORKERS is '0', but must be a whole number from 1 to 256" in problems
    assert "LLMSERVICE_LOG_FORMAT is 'xml', but must be text or json" in problems
    assert len(problems) == 4


def test_one_port_can_t_serve_both() -> None:
    with pytest.raises(SettingsError, match="both 9000"):
        from_environment({"LLMSERVICE_HEALTH_PORT": "9000", "LLMSERVICE_METRICS_PORT": "9000"})
