"""The settings that say what authors of services may name."""

import pytest

from llmservice_operator.settings import SettingsError, from_environment


def test_what_authors_may_name_is_read() -> None:
    allowed = from_environment(
        {
            "LLMSERVICE_ALLOWED_SERVICE_ACCOUNTS": "team-a/reader, team-b/reader",
            "LLMSERVICE_ALLOWED_MEDIA_DOMAINS": "images.example.com",
        }
    ).platform.allowed
    assert allowed.service_accounts == ("team-a/reader", "team-b/reader")
    assert allowed.media_domains == ("images.example.com",)
    assert from_environment({}).platform.allowed.service_accounts == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LLMSERVICE_ALLOWED_SERVICE_ACCOUNTS", "reader"),
        ("LLMSERVICE_ALLOWED_SERVICE_ACCOUNTS", "*/reader"),
        ("LLMSERVICE_ALLOWED_MEDIA_DOMAINS", "169.254.169.254"),
        ("LLMSERVICE_ALLOWED_MEDIA_DOMAINS", "*.example.com"),
        ("LLMSERVICE_ALLOWED_MEDIA_DOMAINS", ",".join(f"a{at}.example" for at in range(33))),
    ],
)
def test_what_authors_may_name_is_checked(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as raised:
        from_environment({name: value})
    assert name in str(raised.value)
