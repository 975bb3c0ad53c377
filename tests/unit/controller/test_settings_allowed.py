"""The settings that say what authors of services may name."""

import pytest

from llmservice_operator.config.settings import SettingsError, from_environment


def test_what_authors_may_name_is_read() -> None:
    allowed = from_environment(
        {
            "LLMSERVICE_ALLOWED_SERVICE_ACCOUNTS": "team-a/reader, team-b/reader",
            "LLMSERVICE_ALLOWED_MEDIA_DOMAINS": "images.example.com",
            "LLMSERVICE_ALLOWED_TRACE_FLAGS": "true",
        }
    ).platform.allowed
    assert allowed.service_accounts == ("team-a/reader", "team-b/reader")
    assert allowed.media_domains == ("images.example.com",)
    assert allowed.trace_flags
    assert from_environment({}).platform.allowed.service_accounts == ()
    assert not from_environment({}).platform.allowed.trace_flags


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LLMSERVICE_ALLOWED_SERVICE_ACCOUNTS", "reader"),
        ("LLMSERVICE_ALLOWED_SERVICE_ACCOUNTS", "*/reader"),
        ("LLMSERVICE_ALLOWED_TRACE_FLAGS", "maybe"),
        ("LLMSERVICE_ALLOWED_EXTRA_ARGS", "--block-size"),
        ("LLMSERVICE_ALLOWED_EXTRA_ARGS", "*,block-size"),
        ("LLMSERVICE_ALLOWED_ENGINE_ENV_EXCEPT", "NCCL DEBUG"),
        ("LLMSERVICE_ALLOWED_SOURCES", "https://hub.example.com"),
        ("LLMSERVICE_ALLOWED_SOURCES", "ftp://hub.example.com/"),
        ("LLMSERVICE_ALLOWED_STORES", "valkey.store"),
        ("LLMSERVICE_ALLOWED_MEDIA_DOMAINS", "169.254.169.254"),
        ("LLMSERVICE_ALLOWED_MEDIA_DOMAINS", "*.example.com"),
        ("LLMSERVICE_ALLOWED_MEDIA_DOMAINS", ",".join(f"a{at}.example" for at in range(33))),
    ],
)
def test_what_authors_may_name_is_checked(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as raised:
        from_environment({name: value})
    assert name in str(raised.value)


def test_a_hub_of_ones_own_has_to_be_listed() -> None:
    assert from_environment({}).platform.allowed.sources == ("hf://", "pvc://", "s3://")
    assert from_environment({}).platform.allowed.stores is None
    listed = {
        "LLMSERVICE_ALLOWED_SOURCES": "hf://,https://HUB.example.com/",
        "LLMSERVICE_ALLOWED_STORES": "Valkey:6379",
    }
    allowed = from_environment(listed).platform.allowed
    assert (allowed.sources, allowed.stores) == (("hf://", "https://hub.example.com/"), ("valkey:6379",))


def test_lists_of_arguments_and_variables_are_read() -> None:
    everything = from_environment({"LLMSERVICE_ALLOWED_EXTRA_ARGS": "*", "LLMSERVICE_ALLOWED_ENGINE_ENV": "*"})
    assert everything.platform.allowed == from_environment({}).platform.allowed
    allowed = from_environment(
        {
            "LLMSERVICE_ALLOWED_EXTRA_ARGS": "block-size, enable-dbo",
            "LLMSERVICE_ALLOWED_EXTRA_ARGS_EXCEPT": "enable-dbo",
            "LLMSERVICE_ALLOWED_ENGINE_ENV": "none",
            "LLMSERVICE_ALLOWED_ENGINE_ENV_EXCEPT": "NCCL_DEBUG",
        }
    ).platform.allowed
    assert (allowed.extra_args, allowed.extra_args_except) == (("block-size", "enable-dbo"), ("enable-dbo",))
    assert (allowed.engine_env, allowed.engine_env_except) == (("none",), ("NCCL_DEBUG",))
