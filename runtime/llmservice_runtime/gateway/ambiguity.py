"""Whether a regular expression repeats what is itself only repeated or optional, as `(a*)*` or `(a+|b)+`.

Such a pattern matches one text in very many ways, and vLLM's engine follows all of them for each token: eight bytes of
it held the engine for a second per token, for every client. `(a+b)*` is none of these: its `b` parts the repetitions.
The check takes time linear in the length of the pattern.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# These repetitions are possessive: with backtracking a long text would cost the square of its length, or more.
_COUNT = re.compile(r"\{\s*+(\d*+)\s*+(,?)\s*+(\d*+)\s*+\}", re.ASCII)
_GROUP_HEAD = re.compile(r"\?(?:[:=!>|]|<[=!]|P?<[^>]{0,64}>|[a-zA-Z-]{0,8}:)", re.ASCII)
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*+\]", re.DOTALL)
_ANCHORS = "^$"


@dataclass(slots=True)
class _Group:
    """A group that is being read."""

    is_fixed: bool = False
    """Whether the branch that is being read has a part that is neither repeated nor optional."""
    is_loose: bool = False
    """Whether a branch before it has none."""
    is_endless: bool = False
    """Whether something within repeats without a bound."""


@dataclass(frozen=True, slots=True)
class _Times:
    """How often a part occurs."""

    is_fixed: bool = True
    repeats: bool = False
    is_endless: bool = False


_ONCE, _OPTIONAL = _Times(), _Times(is_fixed=False)
_ENDLESS = _Times(is_fixed=False, repeats=True, is_endless=True)


def is_ambiguous(pattern: str) -> bool:
    """Whether a repeated group has a branch of repeated and optional parts alone."""
    if not any(mark in pattern for mark in (")*", ")+", "){")):
        return False
    groups = [_Group()]
    classes = True  # until one has no end: those behind it have none either
    at = 0
    while at < len(pattern):
        letter = pattern[at]
        group = groups[-1]
        if letter == "(":
            groups.append(_Group())
            head = _GROUP_HEAD.match(pattern, at + 1)
            at = head.end() if head else at + 1
            continue
        if letter == "|":
            group.is_loose |= not group.is_fixed
            group.is_fixed = False
            at += 1
            continue
        inner = None
        if letter == ")" and len(groups) > 1:
            inner = groups.pop()
            group = groups[-1]
            inner.is_loose |= not inner.is_fixed
            at += 1
        elif letter == "[" and classes:
            found = _CLASS.match(pattern, at)
            classes = found is not None
            at = found.end() if found else at + 1
        else:
            at += 2 if letter == "\\" else 1
        times, at = _times(pattern, at)
        if inner is not None:
            if times.repeats and inner.is_loose and inner.is_endless:
                return True
            group.is_endless |= inner.is_endless
        group.is_endless |= times.is_endless
        group.is_fixed |= times.is_fixed and letter not in _ANCHORS and not (inner is not None and inner.is_loose)
    return False


def _times(pattern: str, at: int) -> tuple[_Times, int]:
    """How often the part that ends at `at` occurs, and what follows that."""
    sign = pattern[at : at + 1]
    if sign in ("*", "+"):
        times, at = _ENDLESS, at + 1
    elif sign == "?":
        times, at = _OPTIONAL, at + 1
    elif sign == "{" and (found := _COUNT.match(pattern, at)):
        least, comma, most = found.groups()
        is_endless = bool(comma) and not most
        # Without leading zeros, as text: Python refuses numbers of very many digits.
        least, most = least.lstrip("0"), (most or least).lstrip("0")
        repeats = is_endless or most not in ("", "1")
        times, at = _Times(bool(least) and not comma, repeats, is_endless), found.end()
    else:
        return _ONCE, at
    # Lazy, or possessive.
    return times, at + 1 if pattern[at : at + 1] in ("?", "+") else at
