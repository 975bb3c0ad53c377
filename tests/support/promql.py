"""Names in a PromQL expression: metrics, and the labels that its selectors match."""

import re
from collections.abc import Iterator

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_RANGE = re.compile(r"\[[^\]]*\]")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)?\s*\{([^}]*)\}")
_NAME = re.compile(r"(?<![\w:.$])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])")
_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "by", "inf", "nan"})


def _bare(expression: str) -> str:
    return _RANGE.sub(" ", _GROUPING.sub(" ", _STRING.sub('""', expression)))


def metrics_of(expression: str) -> set[str]:
    """The metrics that an expression reads."""
    bare = re.sub(r"\{[^}]*\}", " ", _bare(expression))
    return {name for name in _NAME.findall(bare) if name.lower() not in _WORDS}


def matched_labels(expression: str) -> Iterator[tuple[str, str]]:
    """Each metric with a label that its selector matches."""
    for name, inside in _SELECTOR.findall(_bare(expression)):
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside):
            yield name, label
