"""Label selectors are read as Kubernetes reads them."""

import pytest

from llmservice_operator.controller.metrics_api.selectors import SelectorError, parse

LABELS = {"app": "chat", "tier": "gold", "empty": "", "example.com/team": "a"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=chat", True),
        ("app==chat", True),
        ("app=other", False),
        (" app = chat , tier == gold ", True),
        ("app=chat,tier=silver", False),
        ("app!=chat", False),
        ("app!=other", True),
        ("missing!=x", True),
        ("app in (chat,other)", True),
        ("app in(other)", False),
        ("missing in (x)", False),
        ("app notin (chat)", False),
        ("app notin (x, y)", True),
        ("missing notin (x)", True),
        ("app", True),
        ("missing", False),
        ("!missing", True),
        ("! app", False),
        ("empty=", True),
        ("empty", True),
        ("app=", False),
        ("missing=", False),
        ("empty in ()", True),
        ("empty in (a,)", True),
        ("app in (,chat)", True),
        ("example.com/team=a", True),
        ("in in (in),app=chat", False),
        ("app in (in,notin,chat)", True),
        ("empty=,app=chat", True),
    ],
)
def test_selects(text: str, matches: bool) -> None:
    assert parse(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    "text",
    [
        ",",
        "app,",
        ",app",
        "app=chat,,tier=gold",
        "app=a=b",
        "app chat",
        "app=chat tier=gold",
        "=chat",
        "!",
        "!app=chat",
        "!!app",
        "app in",
        "app in chat",
        "app in (chat",
        "app in chat)",
        "app in (chat other)",
        "app in ((chat))",
        "app > 1",
        "app>1",
        "-app",
        "app=-chat",
        "app=" + "x" * 64,
        "x" * 64,
        "Example.com/team",
        "/team",
        "a/b/c",
        "app=ch@t",
        "app='chat'",
        "app=chat)",
        "a" * 254 + "/b",
    ],
)
def test_refuses_what_kubernetes_refuses(text: str) -> None:
    with pytest.raises(SelectorError, match="is invalid"):
        parse(text)
