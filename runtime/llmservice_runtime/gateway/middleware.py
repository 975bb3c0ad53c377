"""One request on its way through the gateway: authentication, limits, vLLM, then accounting.

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
from llmservice_runtime.gateway.answer import END_SECONDS, Bounds, ReceiveChannel, ResponseStream
from llmservice_runtime.gateway.asgi import App, Headers, Receive, Scope, Send, values_of
from llmservice_runtime.gateway.body import ClientGone, parse_body, read_body, with_field, with_length
from llmservice_runtime.gateway.budgets import BodyBudget, Buckets, Held, RequestSlots
from llmservice_runtime.gateway.cache_salt import FIELD, cache_salt
from llmservice_runtime.gateway.caps import check_caps, missing_max_tokens
from llmservice_runtime.gateway.charges import Charges, limit_headers
from llmservice_runtime.gateway.cors import answer_preflight, cors_headers, is_preflight
from llmservice_runtime.gateway.dependencies import Dependencies
from llmservice_runtime.gateway.engine_counts import EngineCounts, counting
from llmservice_runtime.gateway.error_shapes import ANTHROPIC_REQUEST_ID, REQUEST_ID, ErrorShape, shape_of
from llmservice_runtime.gateway.estimates import Estimates
from llmservice_runtime.gateway.exhausted import Exhausted
from llmservice_runtime.gateway.fair_sharing import FairShares, QueueDeadline, sharing
from llmservice_runtime.gateway.files import CERTAIN_SECONDS
from llmservice_runtime.gateway.garbage import Garbage
from llmservice_runtime.gateway.idle_capacity import IdleCapacity, Visit
from llmservice_runtime.gateway.pacing import HTTP_REQUEST
from llmservice_runtime.gateway.parse_queue import LARGE_BYTES, ParseQueue
from llmservice_runtime.gateway.refusals import Refused
from llmservice_runtime.gateway.request_context import (
    CLIENT_GONE,
    FAILED,
    RequestContext,
    headers_for_vllm,
    is_local,
    request_id,
)
from llmservice_runtime.gateway.routes import UNKNOWN, Access, Kind, Route, allowed_methods, find_route
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
_NOT_ENCODED = (b"", b"identity")


class Pipeline:
    """The gateway around one application."""

    def __init__(self, app: App, parts: Dependencies) -> None:
        self._app = app
        self._parts = parts
        self._answering, self._others = RequestSlots(), RequestSlots()
        """Requests for work, and others."""
        self._bodies = BodyBudget()
        self._turns = ParseQueue()
        self._garbage = Garbage()
        self._refused = Buckets(REFUSED_BURST_BYTES, REFUSED_BYTES_PER_SECOND, parts.now)
        self._asked_other = Buckets(OTHER_BURST, OTHER_PER_SECOND, parts.now)
        self._exhausted = Exhausted(parts.now)
        self._estimates = Estimates()
        self._shares = FairShares(parts.now)
        self._idle = IdleCapacity(parts.now)

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
        if route.access is Access.PUBLIC:
            await self._app(scope, receive, send)
            return
        if is_preflight(scope):
            await answer_preflight(self._parts.policy().allowed_origins, scope, send)
            return
        await self._serve(self._visit(scope, route, send), receive)

    def _visit(self, scope: Scope, route: Route, send: Send) -> RequestContext:
        parts, policy = self._parts, self._parts.policy()
        headers: Headers = list(scope["headers"])
        chosen = request_id(headers, parts.new_id)
        onward = {**scope, "headers": headers_for_vllm(headers, chosen), "state": {**scope.get("state", {})}}
        own = [(REQUEST_ID, chosen.encode()), *cors_headers(policy.allowed_origins, headers)]
        if shape_of(scope) is ErrorShape.ANTHROPIC:
            own.append((ANTHROPIC_REQUEST_ID, chosen.encode()))
        answer = ResponseStream(send, own, parts.lines(headers), parts.now)
        until = asyncio.get_running_loop().time() + policy.caps.deadline_seconds
        return RequestContext(onward, route, chosen, parts.now(), until, policy, answer)

    async def _serve(self, context: RequestContext, receive: Receive) -> None:
        try:
            await self._pass(context, receive)
        except Refused as refused:
            refusal = refused.refusal
            context.status, context.reason = refusal.status, refusal.reason
            self._parts.meter.rejected(refusal.reason, context.tier)
            await context.answer.refuse(refusal, context.scope)
        except ClientGone:
            context.reason = CLIENT_GONE
        except BaseException:
            context.reason = FAILED
            raise
        finally:
            self._parts.log.request(context.line(self._parts.now()))
            context.end_span()

    async def _pass(self, context: RequestContext, receive: Receive) -> None:
        _check_headers(context)
        self._authorize(context)
        if context.route.access is Access.LOCAL:
            await self._app(context.scope, receive, context.answer.send)
            return
        context.span = self._parts.tracer.begin(context.scope["headers"], context.route.pattern, context.request_id)
        if context.span is not None:
            context.scope["headers"] = context.span.headers
        if not context.route.kind.is_work:
            await self._other(context, receive)
            return
        async with self._capacity(context) as visit:
            await self._answer(context, receive, visit)

    async def _answer(self, context: RequestContext, receive: Receive, visit: Visit) -> None:
        """A request that is work."""
        with self._place(context), self._bodies.open(context.key_id, context.policy.caps) as held:
            self._check_before_body(context)
            try:
                body, size = await self._fitting(context, await _body(context, receive, held))
                grant = await self._reserve(context, size)
            except Refused:
                if context.key is not None:
                    self._refused.take(context.key_id, held.size)
                raise
            context.answer.add_headers(limit_headers(grant.standing))
            try:
                await self._work(context, body, size, grant, receive, visit)
            finally:
                if not 200 <= context.answer.status < 300:
                    self._garbage.add(held.size)

    @contextlib.asynccontextmanager
    async def _capacity(self, context: RequestContext) -> AsyncIterator[Visit]:
        """Among the requests that are work; one of a batch waits for idle capacity. Raises Refused."""
        if not context.is_of_a_batch:
            with self._idle.other() as visit:
                yield visit
            return
        async with self._idle.of_a_batch() as place:
            if place is None:
                raise Refused(refusals.no_idle_capacity())
            yield place

    async def _other(self, context: RequestContext, receive: Receive) -> None:
        """A request that is no work of the engine. Those of admin keys may have bodies as large as any."""
        caps, most = context.policy.caps, OTHER_BODY_BYTES
        if context.key is not None and context.key.role is Role.ADMIN:
            most = caps.body_bytes
        elif context.key is not None:
            if wait := self._asked_other.wait(context.key_id):
                raise Refused(refusals.too_frequent(wait))
            self._asked_other.take(context.key_id, 1)
        with (
            self._others.take(context.key_id, OTHER_AT_ONCE, caps.concurrency_per_replica),
            self._bodies.open(context.key_id, caps) as held,
        ):
            await self._ask(context, self._inbox(context, await _body(context, receive, held, most), receive))

    def _check_before_body(self, context: RequestContext) -> None:
        """Refuses what is sure to be refused, so that its body is not read. Raises Refused."""
        if context.key is None:
            return
        if refusal := self._exhausted.refusal(context.key_id, context.policy.limit_of(context.limits_tier)):
            raise Refused(refusal)
        if wait := self._refused.wait(context.key_id):
            raise Refused(refusals.refused_too_much(wait))

    def _authorize(self, context: RequestContext) -> None:
        access = context.route.access
        if access is Access.LOCAL:
            if not is_local(context.scope):
                raise Refused(refusals.not_from_here())
            return
        if context.policy.require_keys:
            if not self._parts.files.is_certain:
                raise Refused(refusals.keys_unknown(int(CERTAIN_SECONDS)))
            headers = context.scope["headers"]
            context.key = self._parts.keys.find(values_of(headers, b"authorization"), values_of(headers, b"x-api-key"))
            if context.key is None:
                raise Refused(refusals.no_key())
        if access is Access.ADMIN and (context.key is None or context.key.role is not Role.ADMIN):
            raise Refused(_not_for_clients(context))

    @contextlib.contextmanager
    def _place(self, context: RequestContext) -> Iterator[None]:
        """A place among the requests that are being answered."""
        drain, caps = self._parts.drain, context.policy.caps
        if drain.refuses:
            raise Refused(refusals.draining(DRAIN_RETRY_SECONDS))
        with self._answering.take(context.key_id, caps.concurrency, caps.concurrency_per_replica):
            drain.enter()
            try:
                yield
            finally:
                drain.leave()

    async def _fitting(self, context: RequestContext, body: bytes | None) -> tuple[bytes | None, Size]:
        """The body as vLLM gets it, and its size; it keeps to the caps. Raises Refused."""
        kind = context.route.kind
        limit = context.policy.limit_of(context.limits_tier).tokens_per_minute
        if kind is Kind.AUDIO:
            return body, audio_size(len(body or b""), limit)
        if body is None or not kind.is_json:
            return body, Size(is_open=kind is Kind.REALTIME).within(limit)
        async with self._turn(context, body):
            return await self._parsed(context, body)

    @contextlib.asynccontextmanager
    async def _turn(self, context: RequestContext, body: bytes) -> AsyncIterator[None]:
        """A large body's turn to be parsed. Raises Refused if it does not come before the deadline."""
        if len(body) <= LARGE_BYTES:
            yield
            return
        try:
            async with asyncio.timeout_at(context.until) as limit:
                turn = await self._turns.take(context.key_id)
        except TimeoutError:
            if limit.expired():
                raise Refused(refusals.past_deadline(context.policy.caps.deadline_seconds)) from None
            raise
        with turn:
            yield

    async def _parsed(self, context: RequestContext, body: bytes) -> tuple[bytes, Size]:
        """The same, of a body that is JSON."""
        kind, caps = context.route.kind, context.policy.caps
        # Others of this key may have been refused while this body came and waited.
        self._check_before_body(context)
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
        if context.policy.prefix_cache is PrefixCache.PER_KEY and context.key is not None:
            salt = cache_salt(context.key, context.route, request)
            body = body if salt is None else with_field(body, FIELD, salt)
        if body is not sent:
            context.scope["headers"] = with_length(context.scope["headers"], len(body))
        size = size_of(kind, request, _context_length(context.scope))
        return body, size.within(context.policy.limit_of(context.limits_tier).tokens_per_minute)

    async def _reserve(self, context: RequestContext, size: Size) -> Grant:
        limit = context.policy.limit_of(context.limits_tier)
        ask = Ask(context.key_id, limit, size.requests, self._prompt_tokens(context, size) + size.completion_tokens)
        try:
            outcome = await self._parts.limiter.reserve(ask)
        except StoreUnavailable:
            raise Refused(refusals.store_unavailable()) from None
        if isinstance(outcome, Grant):
            return outcome
        refusal = _denied(ask, outcome).with_headers(limit_headers(outcome.standing))
        self._exhausted.note(ask, outcome, refusal)
        raise Refused(refusal)

    def _prompt_tokens(self, context: RequestContext, size: Size) -> int:
        """What to reserve for the prompts: no estimate of ours alone makes a request larger than its limit."""
        most = context.policy.limit_of(context.limits_tier).tokens_per_minute
        tokens = self._estimates.tokens(context.key_id, size.prompt_tokens)
        return max(size.prompt_tokens, tokens if most is None else min(tokens, most - size.completion_tokens))

    async def _work(
        self,
        context: RequestContext,
        body: bytes | None,
        size: Size,
        grant: Grant,
        receive: Receive,
        visit: Visit,
    ) -> None:
        route, meter, answer = context.route, self._parts.meter, context.answer
        inbox = self._inbox(context, body, receive)
        counts = EngineCounts(size.prompts_once)
        visit.progress = counts
        visit.displace = lambda: self._end_early(context, inbox, refusals.no_idle_capacity())
        on_excess = _on_excess(inbox, route.kind, size, grant)
        charges = Charges(self._parts.limiter, grant, route.kind, size, answer, counts, on_excess)
        meter.admitted(route.pattern, context.tier)
        charges.begin()
        failed = True
        try:
            with counting(counts), self._shared(context, inbox, counts):
                await self._ask(context, inbox)
            failed = False
        finally:
            seconds = self._parts.now() - context.begun
            context.usage = usage_of(context.scope, route.kind, answer, size, seconds, counts, failed)
            if (first := counts.first_token_seconds) is not None:
                meter.first_token(context.tier, first)
            meter.finished(route.pattern, context.tier, context.key_id, seconds, *context.usage)
            charges.end(sum(context.usage))
            if counts.is_known and size.prompts_once is None:
                self._estimates.learn(context.key_id, size.prompt_tokens, counts.prompt_tokens)

    @contextlib.contextmanager
    def _shared(self, context: RequestContext, inbox: ReceiveChannel, counts: EngineCounts) -> Iterator[None]:
        """Its requests to the engine have the priority that its key's share gives them, if keys share the engine."""
        policy = context.policy.fair_sharing
        if policy is None or context.key is None:
            yield
            return
        share, is_last = policy.share_of(context.key.tier), context.is_of_a_batch
        request = self._shares.begin(context.key_id, share.weight, is_last)
        deadline = None
        if share.max_queue_seconds is not None and not is_last and context.route.kind is not Kind.REALTIME:
            left = share.max_queue_seconds - (self._parts.now() - context.begun)
            refusal = refusals.queued_too_long(share.max_queue_seconds)
            deadline = QueueDeadline(request, left, lambda: self._end_early(context, inbox, refusal))
        try:
            with sharing(request):
                yield
        finally:
            if deadline is not None:
                deadline.cancel()
            request.end(counts.completion_tokens if counts.is_known else None)

    def _end_early(self, context: RequestContext, inbox: ReceiveChannel, refusal: refusals.Refusal) -> None:
        self._parts.meter.rejected(refusal.reason, context.tier)
        inbox.stop(refusal)

    async def _ask(self, context: RequestContext, inbox: ReceiveChannel) -> None:
        """Lets the application answer until the deadline."""
        answer = context.answer
        HTTP_REQUEST.set(object())
        try:
            async with asyncio.timeout_at(context.until + END_SECONDS) as limit:
                inbox.work = limit
                await self._app(context.scope, inbox.receive, answer.send)
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
            await _cut(context)
        elif inbox.gone:
            context.reason = CLIENT_GONE

    def _inbox(self, context: RequestContext, body: bytes | None, receive: Receive) -> ReceiveChannel:
        most = context.policy.caps.body_bytes
        bounds = Bounds(most, most * WEBSOCKET_BODIES)
        take = (lambda: self._turns.take(context.key_id)) if len(body or b"") > LARGE_BYTES else None
        return ReceiveChannel(context.scope["type"], receive, body, context.answer, context.until, bounds, take)


def _on_excess(inbox: ReceiveChannel, kind: Kind, size: Size, grant: Grant) -> Callable[[], None] | None:
    """What ends a request once its key is above its limit; None for one that is never ended so."""
    limit, fields = grant.ask.limit.tokens_per_minute, SHAPES[kind].max_tokens
    if limit is None or not size.is_open or not (fields or kind is Kind.REALTIME):
        return None
    if kind is Kind.REALTIME:
        refusal = refusals.over_limit("tokens", limit, 1.0)
    else:
        refusal = refusals.unbounded_over_limit(limit, fields[-1], WINDOW_SECONDS)
    return lambda: inbox.stop(refusal)


def _not_for_clients(context: RequestContext) -> refusals.Refusal:
    if context.route is not UNKNOWN:
        return refusals.not_for_clients()
    allowed = allowed_methods(context.scope)
    return refusals.method_not_allowed(allowed) if allowed else refusals.no_such_route()


def _context_length(scope: Scope) -> int | None:
    """The longest sequence that vLLM serves, as its application knows it; None in another vLLM."""
    state = getattr(scope.get("app"), "state", None)
    length = getattr(getattr(getattr(state, "vllm_config", None), "model_config", None), "max_model_len", None)
    return length if isinstance(length, int) else None


def _check_headers(context: RequestContext) -> None:
    size, most = _header_bytes(context.scope), context.policy.caps.header_bytes
    if size > most:
        raise Refused(refusals.headers_too_large(size, most))


async def _body(context: RequestContext, receive: Receive, held: Held, most: int | None = None) -> bytes | None:
    """The body, if such a request has one, of `most` bytes or of bodyBytes. Raises Refused, ClientGone."""
    caps = context.policy.caps
    if context.scope["type"] != "http" or context.scope["method"] in _BODILESS:
        return None
    encodings = values_of(context.scope["headers"], b"content-encoding")
    if any(encoding.strip().lower() not in _NOT_ENCODED for encoding in encodings):
        raise Refused(refusals.encoded_body())
    try:
        async with asyncio.timeout_at(context.until) as limit:
            return await read_body(receive, context.scope["headers"], most or caps.body_bytes, held.add)
    except TimeoutError:
        if limit.expired():
            raise Refused(refusals.too_slow(caps.deadline_seconds)) from None
        raise


async def _cut(context: RequestContext) -> None:
    """Tells the client why its answer ends, if it still listens."""
    refusal = context.answer.cut or refusals.past_deadline(context.policy.caps.deadline_seconds)
    context.reason = refusal.reason
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            if context.answer.status:
                await context.answer.end(refusal, context.scope)
            else:
                context.status = refusal.status
                await context.answer.refuse(refusal, context.scope)


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
