"""The runtime's environment as one frozen value.

Everything that is wrong is found before anything heavy is loaded, and is reported at once: each problem names the
variable, its value and what is allowed. What belongs to the gateway (keys, policy, the store's login, the log's format)
is checked here and read there; no other module looks at these variables.
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
    """The environment cannot be served; `problems` are sentences for the person who set it."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = tuple(each.message for each in problems)
        super().__init__("\n".join(self.problems), next((each.field for each in problems if each.field), ""))


@dataclass(frozen=True, slots=True)
class Speculation:
    """Guessing tokens that the model then checks several at a time."""

    method: SpeculativeMethod
    tokens: int
    draft: Source | None = None
    """The draft model; None for ngram."""
    revision: str | None = None
    """Commit, tag or branch of its repository."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What to serve and how: ``settings.values[rows.PORT]``. What follows from several values has a property."""

    source: Source
    values: Values
    draft: Source | None = None
    """The small model that guesses tokens."""

    @property
    def accelerator(self) -> AcceleratorType:
        """What the engine computes on."""
        return self.values[rows.ACCELERATOR]

    @property
    def speculation(self) -> Speculation | None:
        """How tokens are guessed; None for no guessing."""
        method = self.values.get(rows.SPECULATIVE_METHOD)
        if method is None:
            return None
        revision = self.values.get(rows.SPECULATIVE_REVISION)
        return Speculation(method, self.values[rows.SPECULATIVE_TOKENS], self.draft, revision)

    @property
    def media_domains(self) -> tuple[str, ...]:
        """Domains that media may be fetched from, those of the platform included; empty: from none."""
        listed = (self.values.get(row) for row in (rows.MEDIA_DOMAINS, rows.PLATFORM_MEDIA_DOMAINS))
        return tuple(domain for domains in listed for domain in domains or ())

    def on(self, device: AcceleratorType) -> Settings:
        """The same on another device, without the values that do not apply to it."""
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
    """ENABLE_FLASH_ATTENTION=false is a choice of kernels."""
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
