"""Parts of sentences for people: lists, durations, and texts cut to a length."""

from collections.abc import Sequence


def join_or(options: Sequence[object]) -> str:
    """``1, 2 or 4``."""
    texts = [str(option) for option in options]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"


def join_truncated(items: Sequence[str], most: int = 5, separator: str = ", ") -> str:
    """The first ``most`` items, and how many more there are."""
    more = len(items) - most
    return separator.join(items[:most]) + (f" and {more} more" if more > 0 else "")


def tail(text: str, most: int = 800) -> str:
    """``text`` without leading and trailing blanks. A longer text keeps its end, because programs print the error
    last."""
    text = text.strip()
    return text if len(text) <= most else "…" + text[-most:].lstrip()


def head(text: str, most: int = 800) -> str:
    """``text`` without leading and trailing blanks. A longer text keeps its beginning."""
    text = text.strip()
    return text if len(text) <= most else text[:most].rstrip() + "…"


def ended(text: str) -> bool:
    """Whether ``text`` ends with a punctuation mark of a sentence."""
    return text.rstrip().endswith((".", "!", "?", "…"))


def joined(what: str, more: str) -> str:
    """``what; more``, or two sentences if ``what`` already ends a sentence."""
    more = more.strip()
    if not more:
        return what
    if ended(what):
        return f"{what} {sentence(more)}"
    begin = more[0].lower() if more[1:2].islower() else more[0]
    return f"{what}; {begin}{more[1:].removesuffix('.')}"


def sentence(text: str) -> str:
    """``text`` with a capital letter and a full stop; empty if ``text`` is empty."""
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if ended(text) else ".")


def within_bytes(text: str, most: int) -> str:
    """The longest beginning of ``text`` that fits into ``most`` bytes of UTF-8."""
    encoded = text.encode(errors="replace")
    return encoded.decode() if len(encoded) <= most else encoded[: most - 3].decode(errors="ignore") + "…"


def duration(seconds: float) -> str:
    """``90 s``, ``12 min`` or ``12 min 30 s``."""
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def count_of(count: int, total: int, noun: str) -> str:
    """``2 of 3 replicas``; ``1 of 1 replica``."""
    return f"{count} of {total} {noun}{'' if total == 1 else 's'}"
