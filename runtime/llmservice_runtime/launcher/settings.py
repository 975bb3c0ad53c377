"""The runtime's environment variables as one frozen value.

All errors are found before heavy modules are loaded, and reported together: each names the variable, its value and what
is allowed. Variables of the gateway (keys, policy, login of the store, log format) are checked here and read by the
gateway; no other module reads environment variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from llmservice_contract import engine_settings as rows
from llmservice_contract.choices import AcceleratorType, AttentionBackend, SpeculativeMethod
from llmservice_contract.setting import BadValue, Text, shown
from llmservice_contract.source import BadSource, Source, parse_source
from llmservice_runtime.cannot_serve import CannotServe
from llmservice_runtime.launcher.validation import contradictions
from llmservice_runtime.launcher.values import Given, Problem, Values


class WrongSettings(CannotServe):
    """The environment is invalid; `problems` are sentences for the user who set it."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = tuple(each.message for each in problems)
        super().__init__("\n".join(self.problems), next((each.field for each in problems if each.field), ""))


@dataclass(frozen=True, slots=True)
class Parsers:
    """Names of vLLM's parsers; None for none."""

    tool_calls: str | None = None
    reasoning: str | None = None


NO_PARSERS = Parsers()


@dataclass(frozen=True, slots=True)
class Speculation:
    """Speculative decoding."""

    method: SpeculativeMethod
    tokens: int
    draft: Source | None = None
    """The draft model; None for ngram."""
    revision: str | None = None
    """Commit, tag or branch of its repository."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings by row: ``settings.values[rows.PORT]``. Values that follow from several settings are properties."""

    source: Source
    values: Values
    draft: Source | None = None
    """The draft model of speculative decoding."""

    @property
    def accelerator(self) -> AcceleratorType:
        """The device of the engine."""
        return self.values[rows.ACCELERATOR]

    @property
    def speculation(self) -> Speculation | None:
        """Speculative decoding; None if it is off."""
        method = self.values.get(rows.SPECULATIVE_METHOD)
        if method is None:
            return None
        revision = self.values.get(rows.SPECULATIVE_REVISION)
        return Speculation(method, self.values[rows.SPECULATIVE_TOKENS], self.draft, revision)

    @property
    def media_domains(self) -> tuple[str, ...]:
        """Domains from which media may be fetched, including those of the platform; empty for none."""
        listed = (self.values.get(row) for row in (rows.MEDIA_DOMAINS, rows.PLATFORM_MEDIA_DOMAINS))
        return tuple(domain for domains in listed for domain in domains or ())

    def on(self, device: AcceleratorType) -> Settings:
        """These settings for another device, without values that do not apply to it."""
        return replace(self, values=self.values.on(device))


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings in `environ`. Raises WrongSettings with every problem found."""
    problems: list[Problem] = []
    given: dict[str, Given] = {}
    for setting in rows.SETTINGS:
        names = [name for name in (setting.name, *setting.aliases) if environ.get(name, "").strip()]
        if not names and setting.required:
            problems.append(Problem.of(f"{setting.name} is not set. {setting.description}", setting))
        for name in names:
            text = environ[name].strip()
            try:
                found = Given(name, text, setting.parse(text, name))
            except BadValue as error:
                problems.append(Problem.of(str(error), setting))
                continue
            first = given.setdefault(setting.name, found)
            if first.value != found.value:
                text = f"{first} contradicts {found}, which is another name of the same setting: take {name} out."
                problems.append(Problem.of(text, setting))
    values = Values(given)
    source = _source(rows.MODEL_SOURCE, values, problems)
    draft = _source(rows.SPECULATIVE_MODEL, values, problems)
    problems.extend(contradictions(values, source, draft))
    if problems or source is None:
        raise WrongSettings(*problems)
    return Settings(source, _with_attention(values), draft)


def _with_attention(values: Values) -> Values:
    """Translates ENABLE_FLASH_ATTENTION=false into a choice of kernels."""
    if values[rows.ENABLE_FLASH_ATTENTION] or values[rows.ATTENTION] is not AttentionBackend.AUTO:
        return values
    return values.having(rows.ATTENTION, AttentionBackend.TRITON)


def _source(setting: Text, values: Values, problems: list[Problem]) -> Source | None:
    given = values.given(setting)
    if given is None:
        return None
    try:
        return parse_source(given.text)
    except BadSource as error:
        problems.append(Problem.of(f"{given.name}={shown(given.text)} is not allowed: {error}.", setting))
        return None
