"""One request on its way through the front: who asks, whether it may, whether it fits, then vLLM, then what it took.

All is decided before the application sees anything of the request. What was taken for it (its place among those of its
key, its share of the limits, its count as active) is given back when it ends, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

from llmservice_contract.keys import Role
from llmservice_contract.policy import PrefixCache
from llmservice_runtime.gateway import refusals
from llmservice_runtime.gateway.answer import END_SECONDS, Answer, Bounds, Inbox
from llmservice_runtime.gateway.asgi import App, Headers, Receive, Scope, Send, values_of
from llmservice_runtime.gateway.body import ClientGone, parse_body, read_body, with_field, with_length
from llmservice_runtime.gateway.budgets import BodyBudget, Buckets, Held, Places
from llmservice_runtime.gateway.cache_salt import FIELD, cache_salt
from llmservice_runtime.gateway.caps import check_caps, missing_max_tokens
from llmservice_runtime.gateway.charges import Charges
from llmservice_runtime.gateway.dependencies import Parts
from llmservice_runtime.gateway.engine_counts import EngineCounts, counting
from llmservice_runtime.gateway.estimates import Estimates
from llmservice_runtime.gateway.exhausted import Exhausted
from llmservice_runtime.gateway.files import CERTAIN_SECONDS
from llmservice_runtime.gateway.garbage import Garbage
from llmservice_runtime.gateway.local import is_local
from llmservice_runtime.gateway.pacing import HTTP_REQUEST
from llmservice_runtime.gateway.parse_queue import LARGE_BYTES, Turns
from llmservice_runtime.gateway.ratelimit import limit_headers
from llmservice_runtime.gateway.refusals import Refused
from llmservice_runtime.gateway.request_context import CLIENT_GONE, FAILED, Visit
from llmservice_runtime.gateway.request_id import NAME, request_id, with_request_id
from llmservice_runtime.gateway.routes import Access, Kind, Route, find_route, is_preflight
from llmservice_runtime.gateway.sizes import SHAPES, Size, audio_size, size_of
from llmservice_runtime.gateway.structure import check_structure
from llmservice_runtime.gateway.usage import usage_of
from llmservice_runtime.rate_limits.limiter import WINDOW_SECONDS, Ask, Denial, Grant, StoreUnavailable

DRAIN_RETRY_SECONDS = 1
OTHER_BODY_BYTES = 4096
"""Of a client's request that is no work of the engine."""
OTHER_AT_ONCE = 64
"""Such requests of one key in flight."""
OTHER_BURST, OTHER_PER_SECOND = 200, 50
"""Such requests of one key: at once, and in the long run."""
WEBSOCKET_BODIES = 8
"""All messages of one websocket may be so many times as large as a body."""
REFUSED_BURST_BYTES, REFUSED_BYTES_PER_SECOND = 64 * 1024 * 1024, 2 * 1024 * 1024
"""Bodies of one key that are read and then refused: at once, and in the long run. Beyond, none is read."""
_BODILESS = frozenset({"GET", "HEAD"})


class Pipeline:
    """The front around one application."""

    def __init__(self, app: App, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._answering, self._others = Places(), Places()
        """Requests for work, and others."""
        self._bodies = BodyBudget()
        self._turns = Turns()
        self._garbage = Garbage()
        self._refused = Buckets(REFUSED_BURST_BYTES, REFUSED_BYTES_PER_SECOND, parts.now)
        self._asked_other = Buckets(OTHER_BURST, OTHER_PER_SECOND, parts.now)
        self._exhausted = Exhausted(parts.now)
        self._estimates = Estimates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._parts.files.start()
        if scope["type"] == "lifespan":
            try:
                await self._app(scope, receive, send)
            finally:
                self._parts.files.stop()
                await self._parts.close()
            return
        route = find_route(scope)
        if route.access is Access.PUBLIC or is_preflight(scope):
            await self._app(scope, receive, send)
            return
        await self._serve(self._visit(scope, route, send), receive)

    def _visit(self, scope: Scope, route: Route, send: Send) -> Visit:
        parts, policy = self._parts, self._parts.policy()
        headers: Headers = list(scope["headers"])
        chosen = request_id(headers, parts.new_id)
        onward = {**scope, "headers": with_request_id(headers, chosen), "state": {**scope.get("state", {})}}
        answer = Answer(send, [(NAME, chosen.encode())], parts.lines(headers), parts.now)
        until = asyncio.get_running_loop().time() + policy.caps.deadline_seconds
        return Visit(onward, route, chosen, parts.now(), until, policy, answer)

    async def _serve(self, visit: Visit, receive: Receive) -> None:
        try:
            await self._pass(visit, receive)
        except Refused as refused:
            refusal = refused.refusal
            visit.status, visit.reason = refusal.status, refusal.reason
            self._parts.meter.rejected(refusal.reason, visit.tier)
            await visit.answer.refuse(refusal, visit.scope)
        except ClientGone:
            visit.reason = CLIENT_GONE
        except BaseException:
            visit.reason = FAILED
            raise
        finally:
            self._parts.log.request(visit.line(self._parts.now()))
            visit.end_span()

    async def _pass(self, visit: Visit, receive: Receive) -> None:
        _check_headers(visit)
        self._authorize(visit)
        if visit.route.access is Access.LOCAL:
            await self._app(visit.scope, receive, visit.answer.send)
            return
        visit.span = self._parts.tracer.begin(visit.scope["headers"], visit.route.pattern, visit.request_id)
        if visit.span is not None:
            visit.scope["headers"] = visit.span.headers
        if not visit.route.kind.is_work:
            await self._other(visit, receive)
            return
        with self._place(visit), self._bodies.open(visit.key_id, visit.policy.caps) as held:
            self._check_before_body(visit)
            try:
                body, size = await self._fitting(visit, await _body(visit, receive, held))
                grant = await self._reserve(visit, size)
            except Refused:
                if visit.key is not None:
                    self._refused.take(visit.key_id, held.size)
                raise
            visit.answer.add_headers(limit_headers(grant.standing))
            try:
                await self._work(visit, body, size, grant, receive)
            finally:
                if not 200 <= visit.answer.status < 300:
                    self._garbage.add(held.size)

    async def _other(self, visit: Visit, receive: Receive) -> None:
        """A request that is no work of the engine. Those of admin keys may have bodies as large as any."""
        caps, most = visit.policy.caps, OTHER_BODY_BYTES
        if visit.key is not None and visit.key.role is Role.ADMIN:
            most = caps.body_bytes
        elif visit.key is not None:
            if wait := self._asked_other.wait(visit.key_id):
                raise Refused(refusals.too_frequent(wait))
            self._asked_other.take(visit.key_id, 1)
        with (
            self._others.take(visit.key_id, OTHER_AT_ONCE, caps.concurrency_per_replica),
            self._bodies.open(visit.key_id, caps) as held,
        ):
            await self._ask(visit, self._inbox(visit, await _body(visit, receive, held, most), receive))

    def _check_before_body(self, visit: Visit) -> None:
        """Refuses what is sure to be refused, so that its body is not read. Raises Refused."""
        if visit.key is None:
            return
        if refusal := self._exhausted.refusal(visit.key_id, visit.policy.limit_of(visit.limits_tier)):
            raise Refused(refusal)
        if wait := self._refused.wait(visit.key_id):
            raise Refused(refusals.refused_too_much(wait))

    def _authorize(self, visit: Visit) -> None:
        access = visit.route.access
        if access is Access.LOCAL:
            if not is_local(visit.scope):
                raise Refused(refusals.not_from_here())
            return
        if visit.policy.require_keys:
            if not self._parts.files.is_certain:
                raise Refused(refusals.keys_unknown(int(CERTAIN_SECONDS)))
            visit.key = self._parts.keys.find(values_of(visit.scope["headers"], b"authorization"))
            if visit.key is None:
                raise Refused(refusals.no_key())
        if access is Access.ADMIN and (visit.key is None or visit.key.role is not Role.ADMIN):
            raise Refused(refusals.not_for_clients())

    @contextlib.contextmanager
    def _place(self, visit: Visit) -> Iterator[None]:
        """A place among the requests that are being answered."""
        drain, caps = self._parts.drain, visit.policy.caps
        if drain.refuses:
            raise Refused(refusals.draining(DRAIN_RETRY_SECONDS))
        with self._answering.take(visit.key_id, caps.concurrency, caps.concurrency_per_replica):
            drain.enter()
            try:
                yield
            finally:
                drain.leave()

    async def _fitting(self, visit: Visit, body: bytes | None) -> tuple[bytes | None, Size]:
        """The body as vLLM gets it, and its size; it keeps to the caps. Raises Refused."""
        kind = visit.route.kind
        limit = visit.policy.limit_of(visit.limits_tier).tokens_per_minute
        if kind is Kind.AUDIO:
            return body, audio_size(len(body or b""), limit)
        if body is None or not kind.is_json:
            return body, Size(is_open=kind is Kind.REALTIME).within(limit)
        async with self._turn(visit, body):
            return await self._parsed(visit, body)

    @contextlib.asynccontextmanager
    async def _turn(self, visit: Visit, body: bytes) -> AsyncIterator[None]:
        """A large body's turn to be parsed. Raises Refused if it does not come before the deadline."""
        if len(body) <= LARGE_BYTES:
            yield
            return
        try:
            async with asyncio.timeout_at(visit.until) as limit:
                turn = await self._turns.take(visit.key_id)
        except TimeoutError:
            if limit.expired():
                raise Refused(refusals.past_deadline(visit.policy.caps.deadline_seconds)) from None
            raise
        with turn:
            yield

    async def _parsed(self, visit: Visit, body: bytes) -> tuple[bytes, Size]:
        """The same, of a body that is JSON."""
        kind, caps = visit.route.kind, visit.policy.caps
        # Others of this key may have been refused while this body came and waited.
        self._check_before_body(visit)
        await check_structure(body, caps)
        request = parse_body(body)
        if len(body) > LARGE_BYTES:
            # Others are served before it is walked through.
            await asyncio.sleep(0)
        if refusal := check_caps(kind, request, caps) or self._parts.media.check(kind, body, request):
            raise Refused(refusal)
        sent = body
        if missing := missing_max_tokens(kind, request, caps):
            name, value = missing
            request[name] = value
            body = with_field(body, name, value)
        if visit.policy.prefix_cache is PrefixCache.PER_KEY and visit.key is not None:
            salt = cache_salt(visit.key, visit.route, request)
            body = body if salt is None else with_field(body, FIELD, salt)
        if body is not sent:
            visit.scope["headers"] = with_length(visit.scope["headers"], len(body))
        return body, size_of(kind, request).within(visit.policy.limit_of(visit.limits_tier).tokens_per_minute)

    async def _reserve(self, visit: Visit, size: Size) -> Grant:
        limit = visit.policy.limit_of(visit.limits_tier)
        ask = Ask(visit.key_id, limit, size.requests, self._prompt_tokens(visit, size) + size.completion_tokens)
        try:
            outcome = await self._parts.limiter.reserve(ask)
        except StoreUnavailable:
            raise Refused(refusals.store_unavailable()) from None
        if isinstance(outcome, Grant):
            return outcome
        refusal = _denied(ask, outcome).with_headers(limit_headers(outcome.standing))
        self._exhausted.note(ask, outcome, refusal)
        raise Refused(refusal)

    def _prompt_tokens(self, visit: Visit, size: Size) -> int:
        """What to reserve for the prompts: no estimate of ours alone makes a request larger than its limit."""
        most = visit.policy.limit_of(visit.limits_tier).tokens_per_minute
        tokens = self._estimates.tokens(visit.key_id, size.prompt_tokens)
        return max(size.prompt_tokens, tokens if most is None else min(tokens, most - size.completion_tokens))

    async def _work(self, visit: Visit, body: bytes | None, size: Size, grant: Grant, receive: Receive) -> None:
        route, meter, answer = visit.route, self._parts.meter, visit.answer
        inbox = self._inbox(visit, body, receive)
        counts = EngineCounts(size.prompts_once)
        on_excess = _on_excess(inbox, route.kind, size, grant)
        charges = Charges(self._parts.limiter, grant, route.kind, size, answer, counts, on_excess)
        meter.admitted(route.pattern, visit.tier)
        charges.begin()
        failed = True
        try:
            with counting(counts):
                await self._ask(visit, inbox)
            failed = False
        finally:
            seconds = self._parts.now() - visit.begun
            visit.usage = usage_of(visit.scope, route.kind, answer, size, seconds, counts, failed)
            meter.finished(route.pattern, visit.tier, visit.key_id, seconds, *visit.usage)
            charges.end(sum(visit.usage))
            if counts.is_known and size.prompts_once is None:
                self._estimates.learn(visit.key_id, size.prompt_tokens, counts.prompt_tokens)

    async def _ask(self, visit: Visit, inbox: Inbox) -> None:
        """Lets the application answer until the deadline."""
        answer = visit.answer
        HTTP_REQUEST.set(object())
        try:
            async with asyncio.timeout_at(visit.until + END_SECONDS) as limit:
                inbox.work = limit
                await self._app(visit.scope, inbox.receive, answer.send)
        except TimeoutError:
            if not limit.expired() and not answer.expired:
                raise
            answer.expire()
        except Exception:
            if not answer.expired:
                raise
        finally:
            inbox.end_turn()
        if answer.expired:
            await _cut(visit)
        elif inbox.gone:
            visit.reason = CLIENT_GONE

    def _inbox(self, visit: Visit, body: bytes | None, receive: Receive) -> Inbox:
        most = visit.policy.caps.body_bytes
        bounds = Bounds(most, most * WEBSOCKET_BODIES)
        take = (lambda: self._turns.take(visit.key_id)) if len(body or b"") > LARGE_BYTES else None
        return Inbox(visit.scope["type"], receive, body, visit.answer, visit.until, bounds, take)


def _on_excess(inbox: Inbox, kind: Kind, size: Size, grant: Grant) -> Callable[[], None] | None:
    """What ends a request once its key is above its limit; None for one that is never ended so."""
    limit, fields = grant.ask.limit.tokens_per_minute, SHAPES[kind].max_tokens
    if limit is None or not size.is_open or not (fields or kind is Kind.REALTIME):
        return None
    if kind is Kind.REALTIME:
        refusal = refusals.over_limit("tokens", limit, 1.0)
    else:
        refusal = refusals.unbounded_over_limit(limit, fields[-1], WINDOW_SECONDS)
    return lambda: inbox.stop(refusal)


def _check_headers(visit: Visit) -> None:
    size, most = _header_bytes(visit.scope), visit.policy.caps.header_bytes
    if size > most:
        raise Refused(refusals.headers_too_large(size, most))


async def _body(visit: Visit, receive: Receive, held: Held, most: int | None = None) -> bytes | None:
    """The body, if such a request has one, of `most` bytes or of bodyBytes. Raises Refused, ClientGone."""
    caps = visit.policy.caps
    if visit.scope["type"] != "http" or visit.scope["method"] in _BODILESS:
        return None
    try:
        async with asyncio.timeout_at(visit.until) as limit:
            return await read_body(receive, visit.scope["headers"], most or caps.body_bytes, held.add)
    except TimeoutError:
        if limit.expired():
            raise Refused(refusals.too_slow(caps.deadline_seconds)) from None
        raise


async def _cut(visit: Visit) -> None:
    """Tells the client why its answer ends, if it still listens."""
    refusal = visit.answer.cut or refusals.past_deadline(visit.policy.caps.deadline_seconds)
    visit.reason = refusal.reason
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            if visit.answer.status:
                await visit.answer.end(refusal)
            else:
                visit.status = refusal.status
                await visit.answer.refuse(refusal, visit.scope)


def _header_bytes(scope: Scope) -> int:
    """The length of the request line and the headers, much as they were sent."""
    line = len(scope.get("raw_path") or scope["path"]) + len(scope.get("query_string", b""))
    return line + sum(len(name) + len(value) + 4 for name, value in scope["headers"])


def _denied(ask: Ask, denial: Denial) -> refusals.Refusal:
    of_tokens = denial.what == "tokens"
    limit = denial.standing.limit_tokens if of_tokens else denial.standing.limit_requests
    if denial.hopeless:
        return refusals.never_within_limit(denial.what, limit, ask.tokens if of_tokens else ask.requests)
    return refusals.over_limit(denial.what, limit, denial.retry_after)
