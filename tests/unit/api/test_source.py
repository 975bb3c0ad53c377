"""One grammar for sources: what the CRD's rules accept is what the operator and the engine can read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.services import a_service
from llmservice_contract.source import (
    BadSource,
    Claim,
    ObjectPrefix,
    Repository,
    SpecSource,
    parse_source,
    parse_spec_source,
)
from llmservice_operator.cli.plan import rules

ACCEPTED: list[tuple[str, SpecSource, str]] = [
    ("pvc://models", Claim("models", ""), "/models"),
    ("pvc://models/", Claim("models", ""), "/models"),
    ("pvc://models/chat/v1", Claim("models", "chat/v1"), "/models/chat/v1"),
    ("pvc://models/chat/", Claim("models", "chat"), "/models/chat"),
    ("pvc://a.b-c.d/.hidden/..x", Claim("a.b-c.d", ".hidden/..x"), "/models/.hidden/..x"),
    ("hf://org/name", Repository("org/name"), "org/name"),
    ("hf://O.r-g_1/N..a", Repository("O.r-g_1/N..a"), "O.r-g_1/N..a"),
    ("https://hub.example.com/org/name", Repository("org/name", "https://hub.example.com"), "org/name"),
    ("https://HUB:8443/org/name", Repository("org/name", "https://HUB:8443"), "org/name"),
    ("s3://bucket/a/b", ObjectPrefix("s3://bucket/a/b"), "s3://bucket/a/b"),
    ("s3://bucket/a/b/", ObjectPrefix("s3://bucket/a/b"), "s3://bucket/a/b"),
    ("s3://b.c/%20?x#y@z", ObjectPrefix("s3://b.c/%20?x#y@z"), "s3://b.c/%20?x#y@z"),
]
REFUSED = [
    "",
    "://",
    "org/name",
    "/models/chat",
    "HF://org/name",
    "ftp://host/org/name",
    "http://host/org/name",
    "file:///etc/passwd",
    "hf://",
    "hf://name",
    "hf://org/name/",
    "hf://org/name/more",
    "hf://org/-name",
    "hf://org/name\n",
    "hf://org/na me",
    "hf://org/n\u00e4me",
    "pvc://",
    "pvc:///chat",
    "pvc://Models/chat",
    "pvc://-models",
    "pvc://a..b",
    "pvc://models//chat",
    "pvc://models/a:b",
    "pvc://models/../secrets",
    "pvc://models/a/.",
    "pvc://models/.",
    "pvc://models/..\n",
    "s3://bucket",
    "s3://bucket/",
    "s3://bucket//",
    "s3://Bucket/path",
    "s3://b/path",
    "s3://bucket/my model",
    "s3://bucket/a\n",
    "https://host/name",
    "https://host/org/name/",
    "https://host/prefix/org/name",
    "https://host:port/org/name",
    "https://host:0/org/name",
    "https://host:123456/org/name",
    "https://a..b/org/name",
    "https://user@host/org/name",
    "https://user:secret@host/org/name",
    "https://host/org/name?download=1",
    "https://[::1]/org/name",
]

PARTS = st.sampled_from(
    [
        *(
            "pvc",
            "hf",
            "s3",
            "https",
            "://",
            ":",
            "/",
            "//",
            ".",
            "..",
            "-",
            "_",
            "@",
            "?",
            "#",
            "%",
            " ",
            "\n",
            "\u00e4",
        ),
        *(
            "models",
            "Chat",
            "org",
            "name",
            "bucket",
            "hub.example",
            "a",
            "0",
            "443",
            "65536",
            "\u0660",
            "\x00",
            "'",
            "\\",
        ),
    ]
)
TEXTS = st.one_of(
    st.builds(
        lambda scheme, parts: f"{scheme}://{''.join(parts)}",
        st.sampled_from(["pvc", "hf", "s3", "https", "http", "HF"]),
        st.lists(PARTS, max_size=8),
    ),
    st.lists(PARTS, max_size=10).map("".join),
    st.text(max_size=40),
)


def accepted_by_rules(text: str) -> bool:
    objections, unchecked = rules.objections(a_service("chat").from_source(text).build())
    assert not unchecked, "the rules have to be evaluated, not left to the API server"
    return not objections


def accepted_by_parser(text: str) -> bool:
    try:
        parse_spec_source(text)
    except BadSource:
        return False
    return True


@pytest.mark.parametrize(("text", "source", "argument"), ACCEPTED, ids=[text for text, _, _ in ACCEPTED])
def test_a_source_is_parsed_into_what_the_engine_loads(text: str, source: SpecSource, argument: str) -> None:
    assert accepted_by_rules(text)
    assert parse_spec_source(text) == source
    assert source.argument == argument


@pytest.mark.parametrize("text", REFUSED, ids=repr)
def test_rules_and_parser_refuse_the_same(text: str) -> None:
    assert not accepted_by_rules(text)
    assert not accepted_by_parser(text)


@given(TEXTS)
def test_rules_and_parser_agree(text: str) -> None:
    assert accepted_by_rules(text) is accepted_by_parser(text)


@given(TEXTS)
def test_the_engine_reads_what_the_operator_writes(text: str) -> None:
    try:
        source = parse_spec_source(text)
    except BadSource:
        return
    written = parse_source(source.argument)
    assert written.argument == source.argument
    if isinstance(source, Repository):
        assert written == Repository(source.name), "the endpoint is a variable of its own, HF_ENDPOINT"


@given(TEXTS)
def test_nothing_a_spec_refuses_but_paths_names_and_mirrors_is_a_source_of_the_engine(text: str) -> None:
    try:
        source = parse_source(text)
    except BadSource:
        return
    mirror = isinstance(source, Repository) and source.endpoint is not None and "/" in source.endpoint[8:]
    slash_at_the_end = text.startswith("https://") and text.endswith("/")
    unprintable = text.startswith("s3://") and not accepted_by_parser(text)
    assert (
        text.startswith("/")
        or "://" not in text
        or mirror
        or slash_at_the_end
        or unprintable
        or accepted_by_parser(text)
    )
