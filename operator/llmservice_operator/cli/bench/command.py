"""Measures a service at each rate, one after the other, and prints the figures."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from llmservice_operator.autoscaling.latency import Target
from llmservice_operator.cli import kubeconfig, wire
from llmservice_operator.cli.bench import load, output, prompts
from llmservice_operator.cli.bench.figures import TIMEOUT, Sample, Verdict, arrivals
from llmservice_operator.cli.bench.targets import least_requests, of_spec
from llmservice_operator.cli.client import KubernetesClient
from llmservice_operator.cli.failure import Failure
from llmservice_operator.cli.inference.api_key import api_key
from llmservice_operator.cli.inference.endpoint import Endpoint, Lost, ServiceProxy, Url
from llmservice_operator.cli.inference.generation import Generation, receive
from llmservice_operator.cli.inference.model_service import ModelService
from llmservice_operator.cli.inference.refusals import content_of, message_of, refused
from llmservice_operator.cli.terminal import give, say

COMPLETION = "/v1/completions"
SHORTEST_SECONDS, LONGEST_SECONDS = 30, 120
"""How long a rate lasts if --seconds is absent."""
_TRIES = 4
"""Requests that find the number of words of a prompt."""
_MOST_WORDS_PER_TOKEN = 2
_STATUS = {Verdict.HOLDS: 0, Verdict.EXCEEDED: 3, Verdict.UNKNOWN: 4}


def run(options: argparse.Namespace) -> int:
    """Print the figures; returns the exit status. Raises Failure."""
    key = api_key(options)
    cluster, namespace = kubeconfig.connect(options, connections=options.max_in_flight)
    service = ModelService.read(cluster, namespace, options.service)
    targets = tuple(options.targets or of_spec(service.spec))
    if not options.url:
        service.check()
    bench = _Bench(options, cluster, service, key)
    words = bench.words()
    samples = list[Sample]()
    for rate in options.rates:
        if samples and len(samples[-1].answers) * 2 < samples[-1].requests:
            say(f"Skipping higher rates: more than half of the requests failed at {samples[-1].rate:g} requests/s.")
            break
        samples.append(bench.sample(rate, words, _seconds(options, rate, targets)))
    report = output.Report(service, options.url or "", options.prompt_tokens, options.max_tokens, targets, samples)
    give(wire.text(output.document(report)) if options.output == "json" else output.table_of(report))
    verdicts = {sample.result(target).verdict for sample in samples for target in targets}
    order = (Verdict.EXCEEDED, Verdict.UNKNOWN)
    worst = next((each for each in order if each in verdicts), Verdict.HOLDS if verdicts else Verdict.UNKNOWN)
    return _STATUS[worst] if options.exit_code else 0


@dataclass
class _Bench:
    """Sends requests to one service."""

    options: argparse.Namespace
    cluster: KubernetesClient
    service: ModelService
    key: str

    def __post_init__(self) -> None:
        self._proxy: ServiceProxy | None = None
        self._endpoint: Endpoint
        if self.options.url:
            self._endpoint = Url(self.options.url, self.key, self.options.max_in_flight)
        else:
            thing = self.service.thing
            self._endpoint = self._proxy = ServiceProxy(self.cluster, thing.namespace, thing.name, self.key)
        self._rng = random.Random(self.options.seed)  # noqa: S311 (a load, no secret)

    def words(self) -> int:
        """How many words have about --prompt-tokens tokens. The first request also warms the service up. Raises
        Failure if a request fails."""
        wanted = int(self.options.prompt_tokens)
        words, best, nearest = wanted, wanted, 0
        for _ in range(_TRIES):
            found = self._first(words).prompt_tokens
            if not found or (nearest and abs(found - wanted) >= abs(nearest - wanted)):
                break
            best, nearest = words, found
            if found == wanted:
                break
            words = min(prompts.adjusted(words, found, wanted), _MOST_WORDS_PER_TOKEN * wanted)
        return best

    def sample(self, rate: float, words: int, seconds: float) -> Sample:
        """The load at one rate."""
        if sys.stderr.isatty():
            say(f"Measuring {rate:g} requests/s for {seconds:g} s ...")
        before = self._replicas()
        sample = Sample(rate)
        requests = ((at, partial(self._send, self._body(words))) for at in arrivals(rate, seconds, self._rng))
        load.run(requests, sample, self.options.max_in_flight, self.options.timeout)
        sample.replicas = before, self._replicas()
        return sample

    def _first(self, words: int) -> Generation:
        generation = Generation(began=time.perf_counter())
        with self._endpoint.post(COMPLETION, self._body(words), self.options.timeout) as response:
            if response.status == 200:
                receive(response.pieces, generation, generation.began + self.options.timeout)
                return generation
            content = content_of(response.pieces)
        path = self._proxy.thing(COMPLETION) if self._proxy is not None else None
        raise refused(self.service, path, response.status, content, has_key=bool(self.key))

    def _send(self, body: Mapping[str, object], sample: Sample) -> None:
        generation = Generation(began=time.perf_counter())
        deadline = generation.began + self.options.timeout
        try:
            with self._endpoint.post(COMPLETION, body, self.options.timeout) as response:
                if response.status != 200:
                    sample.fail(f"http_{response.status}", message_of(content_of(response.pieces)))
                    return
                receive(response.pieces, generation, deadline)
        except Lost as failure:
            sample.fail(TIMEOUT if time.perf_counter() >= deadline else "connection", str(failure))
        except Failure as failure:
            sample.fail("bad_response", str(failure))
        except Exception as error:
            sample.fail(type(error).__name__, str(error))
        else:
            sample.add(generation) if generation.chunks else sample.fail("empty_answer")

    def _body(self, words: int) -> dict[str, object]:
        return {
            "model": self.service.model,
            "prompt": prompts.text(words, self._rng),
            "max_tokens": self.options.max_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def _replicas(self) -> int:
        """Ready replicas now; 0 if the service can't be read."""
        thing = self.service.thing
        try:
            return ModelService.read(self.cluster, thing.namespace, thing.name).ready_replicas
        except Failure:
            return 0


def _seconds(options: argparse.Namespace, rate: float, targets: Sequence[Target]) -> float:
    """As long as the targets' percentiles need at this rate, with a tenth more because arrivals are random."""
    if options.seconds:
        return float(options.seconds)
    needed = max((least_requests(each) for each in targets), default=0)
    return min(LONGEST_SECONDS, max(SHORTEST_SECONDS, 1.2 * needed / rate))
