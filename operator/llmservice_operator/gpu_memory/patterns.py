"""Matches module paths against the patterns of a checkpoint. Patterns are untrusted, so they are never passed to
``re``.

A path is matched in one pass, whatever the patterns are: names and prefixes by look-up, all others together by one
automaton whose positions are characters of the patterns. Regular expressions may have the forms that public checkpoints
use: characters, ``.``, classes, groups, alternatives, ``*``, ``+``, ``?``, and ``^`` and ``$`` at the ends. Anything
else, and more than the bounds below, raises NotModelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from llmservice_operator.gpu_memory.config import NotModelled

MOST_NAMES = 4096
"""Maximum number of patterns that are names or prefixes. Some checkpoints list each module of each layer."""
MOST_PATTERNS = 64
"""Maximum number of other patterns."""
LONGEST = 1024
"""Maximum length of a pattern in characters. Some list each layer of the model as an alternative."""
MOST_POSITIONS = 8192
"""Maximum number of characters of all patterns that need the automaton."""
DEEPEST = 8
"""Maximum depth of nested groups."""
MOST_STEPS = 2_000_000
"""Maximum number of steps of all matching for one checkpoint, up to 0.4 s. The largest public ones need 5 % of it."""
_REMEMBERED = 4096
"""Maximum number of cached steps of an automaton."""
_UNKNOWN_STEP = 16
"""Cost of a step of the automaton that is not cached, in addition to one per position."""

_DIGITS = frozenset("0123456789")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_CLASSES = {"d": _DIGITS, "w": _WORD}
_SPECIAL = frozenset(r"\.^$*+?{}[]()|")


class Work:
    """The matching work for the patterns of one checkpoint. Raises NotModelled if a bound is exceeded."""

    def __init__(self) -> None:
        self.steps = 0
        self._names = 0
        self._patterns = 0
        self._positions = 0

    def spend(self, steps: int) -> None:
        """Counts steps."""
        self.steps += steps
        if self.steps > MOST_STEPS:
            raise NotModelled(f"the patterns in its quantization_config take more than {MOST_STEPS} steps to match")

    def name(self) -> None:
        """Counts a name."""
        self._names += 1
        if self._names > MOST_NAMES:
            raise NotModelled(f"its quantization_config lists more than {MOST_NAMES} modules")

    def pattern(self, length: int) -> None:
        """Counts a pattern of ``length`` characters."""
        self._patterns += 1
        self._positions += length
        if self._patterns > MOST_PATTERNS or self._positions > MOST_POSITIONS:
            raise NotModelled(
                f"its quantization_config has more than {MOST_PATTERNS} patterns, or more than {MOST_POSITIONS} "
                "characters of them"
            )


def matcher(patterns: Iterable[str], work: Work) -> Callable[[str], bool]:
    """A function that returns whether a path matches one of ``patterns``: ``re:`` and a regular expression, which has
    to match at the beginning of the path; a path, or whole parts at either end of one; or a prefix with ``*`` for
    anything. Raises NotModelled."""
    names: set[str] = set()
    beginnings: set[str] = set()
    contained: list[str] = []
    automaton = Automaton(work)
    for pattern in patterns:
        if len(pattern) > LONGEST:
            raise NotModelled(f"its quantization_config has a pattern of {len(pattern)} characters")
        if not pattern.startswith("re:") and "*" not in pattern:
            work.name()
            names.add(pattern)
            continue
        pieces = pattern.split("*") if not pattern.startswith("re:") else _pieces(pattern[3:])
        if pieces is not None and (len(pieces) == 1 or not any(pieces[1:])):
            work.name()
            beginnings.add(pieces[0])
        elif pieces is not None and not pieces[0] and not any(pieces[2:]):
            work.pattern(1)
            contained.append(pieces[1])
        else:
            work.pattern(len(pattern))
            automaton.add(_parsed(pattern[3:]) if pattern.startswith("re:") else _glob(pieces or ()))
    if not names and not beginnings and not contained and not automaton:
        return _none
    lengths = sorted({len(each) for each in beginnings})

    def matches(path: str) -> bool:
        work.spend(1 + len(lengths) + len(contained))
        if names and _listed(path, names):
            return True
        if any(path[:length] in beginnings for length in lengths) or any(each in path for each in contained):
            return True
        return bool(automaton) and automaton.matches(path)

    return matches


def _none(_: str) -> bool:
    return False


def _listed(path: str, names: set[str]) -> bool:
    """Whether the path, or whole parts at its beginning or end, are among the names."""
    if path in names:
        return True
    dots = [index for index, character in enumerate(path) if character == "."]
    return any(path[:dot] in names or path[dot + 1 :] in names for dot in dots)


def _pieces(text: str) -> list[str] | None:
    """The parts between ``.*`` if they are plain characters; otherwise None."""
    pieces = text.removeprefix("^").split(".*")
    plain = [piece.replace(r"\.", "\0") for piece in pieces]
    if any(_SPECIAL & set(piece) for piece in plain) or "\0" in text:
        return None
    return [piece.replace("\0", ".") for piece in plain]


@dataclass(frozen=True, slots=True)
class _Set:
    """The characters that match at one position."""

    characters: frozenset[str]
    others: bool = False
    """Whether all other characters match instead."""

    def __contains__(self, character: str) -> bool:
        return (character in self.characters) is not self.others


_ANY = _Set(frozenset(), others=True)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a pattern. ``of`` are its parts; a repetition has one."""

    kind: str
    """``set``, ``then``, ``or`` or ``repeat``."""
    set: _Set = _ANY
    of: tuple[_Part, ...] = ()
    none: bool = False
    """For a repetition: whether it may be absent."""
    many: bool = False
    """For a repetition: whether it may occur more than once."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A whole pattern: its alternatives, each with whether the path has to end there."""

    branches: tuple[tuple[_Part, bool], ...]


def _glob(pieces: Sequence[str]) -> _Pattern:
    parts: list[_Part] = []
    for number, piece in enumerate(pieces):
        if number:
            parts.append(_Part("repeat", of=(_Part("set"),), none=True, many=True))
        parts.extend(_Part("set", _Set(frozenset(character))) for character in piece)
    return _Pattern(((_Part("then", of=tuple(parts)), False),))


def _parsed(text: str) -> _Pattern:
    """Raises NotModelled."""
    return _Parser(text).whole()


class _Parser:
    """Parses one regular expression from left to right. Raises NotModelled."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def whole(self) -> _Pattern:
        branches = []
        while True:
            self._take("^")
            part = self._sequence(0)
            branches.append((part, self._take("$")))
            if self._at == len(self._text):
                return _Pattern(tuple(branches))
            if not self._take("|"):
                raise self._unsupported()

    def _unsupported(self) -> NotModelled:
        shown = self._text if len(self._text) <= 60 else self._text[:59] + "…"
        return NotModelled(
            f"its quantization_config has the pattern {shown!r}, which the operator does not support at character "
            f"{self._at + 1}"
        )

    def _next(self) -> str:
        return self._text[self._at] if self._at < len(self._text) else ""

    def _take(self, character: str) -> bool:
        found = self._next() == character
        self._at += found
        return found

    def _sequence(self, depth: int) -> _Part:
        parts = []
        while (character := self._next()) and character not in "|)$":
            parts.append(self._repeated(self._one(depth)))
        return _Part("then", of=tuple(parts))

    def _repeated(self, part: _Part) -> _Part:
        sign = self._next()
        if not sign or sign not in "*+?":
            return part
        self._at += 1
        self._take("?")  # non-greedy: the same paths match
        if (character := self._next()) and character in "*+?{":
            raise self._unsupported()
        return _Part("repeat", of=(part,), none=sign != "+", many=sign != "?")

    def _one(self, depth: int) -> _Part:
        character = self._next()
        if character == "(":
            return self._group(depth)
        if character == "[":
            return _Part("set", self._class())
        if character in "*+?{}]^":
            raise self._unsupported()
        self._at += 1
        if character == ".":
            return _Part("set")
        return _Part("set", self._escaped() if character == "\\" else _Set(frozenset(character)))

    def _group(self, depth: int) -> _Part:
        if depth == DEEPEST:
            raise self._unsupported()
        self._at += 1
        if self._take("?") and not self._take(":"):
            raise self._unsupported()
        branches = [self._sequence(depth + 1)]
        while self._take("|"):
            branches.append(self._sequence(depth + 1))
        if not self._take(")"):
            raise self._unsupported()
        return _Part("or", of=tuple(branches))

    def _escaped(self) -> _Set:
        character = self._next()
        known = _CLASSES.get(character)
        if known is None and (not character or character.isalnum() or not character.isascii()):
            raise self._unsupported()
        self._at += 1
        return _Set(known or frozenset(character))

    def _class(self) -> _Set:
        self._at += 1
        others = self._take("^")
        found: set[str] = set()
        while not self._take("]"):
            first = self._member()
            if self._next() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                last = self._member()
                if len(first) != 1 or len(last) != 1 or not first <= last or ord(last) > 127:
                    raise self._unsupported()
                found.update(map(chr, range(ord(first), ord(last) + 1)))
            else:
                found.update(first)
        return _Set(frozenset(found), others)

    def _member(self) -> str:
        """One character of a class, or all characters of an escape."""
        character = self._next()
        if not character or character == "[":
            raise self._unsupported()
        self._at += 1
        return "".join(self._escaped().characters) if character == "\\" else character


@dataclass(slots=True)
class _Ends:
    """For a part: its possible first and last positions, and whether it may be empty."""

    first: int = 0
    last: list[int] = field(default_factory=list)
    empty: bool = True


class Automaton:
    """Matches many patterns at once. A state is the set of positions that were just matched, as bits of an integer."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._sets: list[_Set] = []
        self._follow: list[int] = []
        self._start = 0
        self._accepting = 0
        """Positions after which the path matches, whatever follows."""
        self._ending = 0
        """Positions after which the path matches if it ends there."""
        self._always = False
        self._if_empty = False
        self._masks: dict[str, int] = {}
        self._steps: dict[tuple[int, str], int] = {}

    def __bool__(self) -> bool:
        return bool(self._sets) or self._always or self._if_empty

    def add(self, pattern: _Pattern) -> None:
        """Adds a pattern."""
        for part, to_the_end in pattern.branches:
            ends = self._place(part)
            self._start |= ends.first
            bits = sum(1 << position for position in set(ends.last))
            if to_the_end:
                self._ending |= bits
                self._if_empty |= ends.empty
            else:
                self._accepting |= bits
                self._always |= ends.empty

    def matches(self, path: str) -> bool:
        """Whether one of the patterns matches at the beginning of the path."""
        if self._always or (not path and self._if_empty):
            return True
        self._work.spend(len(path))
        state = -1
        for character in path:
            step = self._steps.get((state, character))
            if step is None:
                step = self._step(state, character)
            if step & self._accepting:
                return True
            if not step:
                return False
            state = step
        return bool(state >= 0 and state & self._ending)

    def _step(self, state: int, character: str) -> int:
        if state < 0:
            reached = self._start
        else:
            reached, rest = 0, state
            self._work.spend(_UNKNOWN_STEP + state.bit_count())
            while rest:
                low = rest & -rest
                reached |= self._follow[low.bit_length() - 1]
                rest ^= low
        if character not in self._masks:
            self._work.spend(len(self._sets))
            self._masks[character] = sum(1 << number for number, each in enumerate(self._sets) if character in each)
        if len(self._steps) >= _REMEMBERED:
            self._steps.clear()
        found = self._steps[state, character] = reached & self._masks[character]
        return found

    def _place(self, part: _Part) -> _Ends:
        """Assigns positions to the characters of a part."""
        if part.kind == "set":
            self._sets.append(part.set)
            self._follow.append(0)
            position = len(self._sets) - 1
            return _Ends(1 << position, [position], False)
        inner = map(self._place, part.of)
        if part.kind == "repeat":
            ends = next(inner)
            if part.many:
                self._join(ends.last, ends.first)
            return _Ends(ends.first, ends.last, ends.empty or part.none)
        if part.kind == "or":
            found = _Ends(empty=False)
            for ends in inner:
                found.first |= ends.first
                found.last += ends.last
                found.empty |= ends.empty
            return found
        found = _Ends()
        for ends in inner:
            self._join(found.last, ends.first)
            if found.empty:
                found.first |= ends.first
            found.last = found.last + ends.last if ends.empty else ends.last
            found.empty &= ends.empty
        return found

    def _join(self, last: Sequence[int], first: int) -> None:
        self._work.spend(len(last))
        for position in last:
            self._follow[position] |= first
