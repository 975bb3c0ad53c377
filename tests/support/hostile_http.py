"""Requests that gateways and servers have read differently, by name, each with what has to come of it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from support.raw_http import request

CHAT = "/v1/chat/completions"
ASK = '{"model": "two", "messages": []}'
HIDDEN = "GET /v1/models/one HTTP/1.1\r\nHost: a\r\n\r\n"
"""A request within another one."""
CHUNKS = f"{len(ASK):x}\r\n{ASK}\r\n0\r\n\r\n"
REFUSED, ONE, TWO = "refused", "one", "two"


@dataclass(frozen=True)
class Hostile:
    """What is sent, and the services whose applications get a request of it, in this order. None: it is refused."""

    sent: bytes
    reached: tuple[str, ...] = ()


def hostile_requests() -> Mapping[str, Hostile]:
    """All of them."""
    groups = {
        "frame": _frames(),
        "chunk": _chunks(),
        "header": _headers(),
        "target": _targets(),
        "host": _hosts(),
        "version": _versions(),
        "sequence": _sequences(),
        "protocol": _protocols(),
        "JSON": _bodies(),
        "form": _forms(),
    }
    found: dict[str, Hostile] = {}
    for group, cases in groups.items():
        for name, sent, reached in cases:
            assert f"{group}: {name}" not in found
            found[f"{group}: {name}"] = Hostile(sent, () if reached == REFUSED else tuple(reached.split()))
    return found


Cases = Iterator[tuple[str, bytes, str]]


def _post(body: str | bytes, *headers: str, target: str = CHAT, content: str = "application/json") -> bytes:
    """A POST of this body, with its length unless the headers say otherwise."""
    data = body.encode() if isinstance(body, str) else body
    framed = any(each.lower().startswith(("content-length", "transfer-encoding", "transfer_")) for each in headers)
    own = [f"Content-Type: {content}", *([] if framed else [f"Content-Length: {len(data)}"])]
    return request(target, *own, *headers, method="POST") + data


def _frames() -> Cases:
    size = len(ASK)
    smuggled = f"0\r\n\r\n{HIDDEN}"
    yield "length and chunks", _post(smuggled, "Content-Length: 5", "Transfer-Encoding: chunked"), REFUSED
    yield "chunks and length", _post(smuggled, "Transfer-Encoding: chunked", "Content-Length: 5"), REFUSED
    yield "the same length twice", _post(ASK, f"Content-Length: {size}", f"Content-Length: {size}"), REFUSED
    yield "two lengths", _post(ASK, f"Content-Length: {size}", "Content-Length: 0"), REFUSED
    for length in (f"{size}, {size}", f"+{size}", f"-{size}", f"{size} 0", hex(size), f"{size}.0", "", "9" * 30):
        yield f"length {length!r}", _post(ASK, f"Content-Length: {length}"), REFUSED
    yield "length with zeros before it", _post(ASK, f"Content-Length: 000{size}"), TWO
    yield "length with spaces", _post(ASK, f"Content-Length:  {size} "), TWO
    yield "length before a space and a colon", _post(ASK, f"Content-Length : {size}"), REFUSED
    encodings = (
        "xchunked",
        "chunked, identity",
        "identity, chunked",
        "chunked, chunked",
        "chunked;q=1",
        "gzip, chunked",
        "\tchunked",
    )
    for encoding in (*encodings, "identity", "\x0bchunked", "chunked\x0b", '"chunked"', "chunke", ""):
        yield f"encoding {encoding!r}", _post(CHUNKS, f"Transfer-Encoding: {encoding}"), REFUSED
    for encoding in ("Chunked", "chunked "):
        yield f"encoding {encoding!r}", _post(CHUNKS, f"Transfer-Encoding: {encoding}"), TWO
    twice = ("Transfer-Encoding: chunked", "Transfer-Encoding: identity")
    yield "two encodings", _post(smuggled, *twice), REFUSED
    yield "two encodings, the other way round", _post(smuggled, *reversed(twice)), REFUSED
    yield "the same encoding twice", _post(CHUNKS, twice[0], twice[0]), REFUSED
    yield "encoding before a space and a colon", _post(CHUNKS, "Transfer-Encoding : chunked"), REFUSED
    yield "encoding in a folded line", _post(CHUNKS, "Transfer-Encoding:", " chunked"), REFUSED
    yield "encoding after a carriage return", _post(CHUNKS, "X: y\rTransfer-Encoding: chunked"), REFUSED
    old = request(CHAT, "Transfer-Encoding: chunked", method="POST", version="HTTP/1.0")
    yield "chunks of HTTP/1.0", old + CHUNKS.encode(), REFUSED


def _chunks() -> Cases:
    def chunked(text: str) -> bytes:
        return _post(text, "Transfer-Encoding: chunked")

    size = f"{len(ASK):x}"
    for given in (
        f"0x{size}",
        f"+{size}",
        f"-{size}",
        "g",
        "",
        f"{size}h",
        "f" * 17,
        f"{'f' * 15}{size}",
        "1" + "0" * 16,
    ):
        yield f"size {given!r}", chunked(f"{given}\r\n{ASK}\r\n0\r\n\r\n"), REFUSED
    yield "size with zeros before it", chunked(f"0000{size}\r\n{ASK}\r\n0\r\n\r\n"), TWO
    yield "an extension", chunked(f'{size};a="b"\r\n{ASK}\r\n0\r\n\r\n'), TWO
    yield "data longer than its size", chunked(f"1\r\n{ASK}\r\n0\r\n\r\n"), REFUSED
    yield "no end of data", chunked(f"{size}\r\n{ASK}0\r\n\r\n"), REFUSED
    yield "a size that hides a request", chunked(f"{size}\r\n{ASK}\r\n0\r\n\r\n{HIDDEN}"), f"{TWO} {ONE}"
    yield "trailers", chunked(f"{size}\r\n{ASK}\r\n0\r\nContent-Length: 99\r\nHost: b\r\nX-Api-Key: c\r\n\r\n"), TWO
    yield "no last chunk", chunked(f"{size}\r\n{ASK}\r\n"), REFUSED
    yield (
        "above the limit",
        chunked("100000\r\n" + "x" * 2**20 + "\r\n100000\r\n" + "x" * 2**20 + "\r\n0\r\n\r\n"),
        REFUSED,
    )


def _headers() -> Cases:
    yield "null byte in a value", _post(ASK, "X: a\0b"), REFUSED
    yield "null byte in a name", _post(ASK, "X\0: a"), REFUSED
    yield "16 KiB in one", _post(ASK, f"X: {'a' * 17_000}"), REFUSED
    yield "64 KiB in many", _post(ASK, *(f"X-{number}: {'a' * 1000}" for number in range(70))), REFUSED
    yield "a thousand", _post(ASK, *(f"X-{number}: a" for number in range(10_000))), REFUSED
    yield (
        "names with underscores",
        _post(ASK, f"Content-Length: {len(ASK)}", "Content_Length: 0", "Transfer_Encoding: x"),
        TWO,
    )
    yield "carriage return in a value", _post(ASK, "X: a\rContent-Length: 0"), REFUSED
    yield "two contents", _post(ASK, "Content-Type: multipart/form-data; boundary=x"), TWO
    yield "line feeds alone", _post(ASK).replace(b"\r\n", b"\n"), TWO
    yield "a range and conditions", _post(ASK, "Range: bytes=0-1", "If-None-Match: *", "If-Range: x"), TWO
    yield "headers that are the connection's", _post(ASK, "Connection: content-length, content-type, host"), TWO
    yield (
        "compressed",
        _post(gzip.compress(b'{"model": "two", "x": "' + b"a" * 10**6 + b'"}'), "Content-Encoding: gzip"),
        REFUSED,
    )
    for coding in ("deflate", "br", "zstd", "identity, gzip", "x"):
        yield f"compressed, {coding}", _post(ASK, f"Content-Encoding: {coding}"), REFUSED
    yield "compressed, not", _post(ASK, "Content-Encoding: Identity"), TWO


def _targets() -> Cases:
    yield "a whole URL", _post(ASK, target=f"http://b{CHAT}"), TWO
    yield "a whole URL with a user", _post(ASK, target=f"http://u@b{CHAT}"), REFUSED
    yield "a whole URL of another scheme", _post(ASK, target=f"ftp://b{CHAT}"), TWO
    yield "an authority", request("a:80"), REFUSED
    yield "an authority to connect to", request("a:80", method="CONNECT"), REFUSED
    yield "an asterisk", request("*", method="OPTIONS"), REFUSED
    yield "no slash", request("v1/models/one"), REFUSED
    paths = ("//v1/chat/completions", "/v1//chat/completions", "/./v1/chat/completions", "/v1/../v1/chat/completions")
    escaped = (
        "/%2e/v1/chat/completions",
        "/v1%2fchat/completions",
        "/v1/%63hat/completions",
        "/v1/chat/completions%00",
    )
    endings = ("/v1/chat/completions/", "/v1/chat/completions;a", "/v1/chat/completions%20", "/v1/chat/completions%3f")
    mixed = ("/services/two/../one/v1/chat/completions", "/services/two/%2e%2e/one/v1/chat/completions")
    outside = ("/../v1/chat/completions", "/services/%74wo/v1/chat/completions", "/SERVICES/two/v1/chat/completions")
    spaces = (
        f"{CHAT} x",
        f"{CHAT}\x00",
        f"{CHAT}\x0b",
        "/v1\\chat\\completions",
        f"{CHAT}\r/x",
        "/v1/ch\xe4t/completions",
    )
    for path in (*paths, *escaped, *endings, *mixed, *outside, *spaces):
        yield repr(path), _post(ASK, target=path), REFUSED
    yield "a service in the query", _post(ASK, target=f"{CHAT}?x=/services/one/"), TWO
    yield "a fragment", _post(ASK, target=f"{CHAT}#/services/one"), REFUSED
    yield "an escaped model", request("/v1/models/%6fne"), ONE
    yield "a model that leads up", request("/v1/models/../../services/two/v1/models/one"), REFUSED
    yield "a model in the body of a GET", request("/v1/models/one", body=ASK), ONE
    yield "17 KiB", _post(ASK, target=f"{CHAT}?{'a' * 17_000}"), REFUSED


def _hosts() -> Cases:
    yield "none", request("/v1/models/one", host=None), REFUSED
    yield "two", request("/v1/models/one", "Host: b"), REFUSED
    for host in (
        "",
        "a@b",
        "a b",
        "a,b",
        "a/b",
        "a:b",
        "[::1",
        "a\0b",
        "a\\b",
        "a..b",
        "\xe9",
        "a:80:80",
        "%61",
        "a?b",
    ):
        yield repr(host), request("/v1/models/one", host=host), REFUSED
    for host in ("a:80", "[::1]:80", "A.", "127.0.0.1"):
        yield repr(host), request("/v1/models/one", host=host), ONE


def _versions() -> Cases:
    yield "0.9", b"GET /v1/models/one\r\n\r\n", REFUSED
    yield "1.0", request("/v1/models/one", version="HTTP/1.0", host=None), ONE
    for version in ("HTTP/2.0", "http/1.1", "HTTP/1.1.", "HTTP/1.1 HTTP/1.1", "HTTP", "ICY/1.0", "HTTP/11"):
        yield version, request("/v1/models/one", version=version), REFUSED
    yield "2 by its preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", REFUSED
    yield "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", REFUSED
    yield "SSH", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", REFUSED
    for method in ("get", "G\tET", "G\0ET", "GET\r\nGET", "GE(T)", ""):
        yield f"method {method!r}", request("/v1/models/one", method=method), REFUSED


def _sequences() -> Cases:
    unknown = '{"model": "three", "x": "' + HIDDEN.replace("\r\n", "\\r\\n") + '"}'
    yield "after one", _post(ASK) + HIDDEN.encode(), f"{TWO} {ONE}"
    yield "after one without a length", request(CHAT, method="POST") + HIDDEN.encode(), f"{REFUSED} {ONE}"
    yield "after one that is no HTTP", request("/v1/models/one", version="HTTP/9") + HIDDEN.encode(), REFUSED
    yield "in a body that is refused", _post(unknown), REFUSED
    yield "in a body that is not read", _post(HIDDEN, target="/services/none/v1/x"), REFUSED
    yield "in a body above the limit", _post(HIDDEN, "Content-Length: 9999999"), REFUSED
    yield "in a body that is compressed", _post(HIDDEN, "Content-Encoding: gzip"), REFUSED
    yield "in the body of a GET", request("/v1/models/one", f"Content-Length: {len(HIDDEN)}") + HIDDEN.encode(), ONE
    yield (
        "in the body of a HEAD",
        request("/v1/models/one", f"Content-Length: {len(HIDDEN)}", method="HEAD") + HIDDEN.encode(),
        ONE,
    )
    yield "empty lines first", b"\r\n\r\n" + _post(ASK), TWO


def _protocols() -> Cases:
    switch = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    yield "HTTP/2 by upgrade", _post(ASK, *switch), TWO
    yield "HTTP/2 beside a websocket", _post(ASK, "Connection: Upgrade", "Upgrade: websocket, h2c"), TWO
    yield "HTTP/2 in a second line", _post(ASK, "Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c"), TWO
    websocket = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    wrong = request("/services/two/v1/realtime", *websocket, "Sec-WebSocket-Version: 777")
    yield "a websocket that is refused", wrong + HIDDEN.encode(), f"{REFUSED} {ONE}"
    yield "a body above the limit that waits", _post("", "Expect: 100-continue", "Content-Length: 9999999"), REFUSED
    yield "a body that waits", _post(ASK, "Expect: 100-continue"), TWO
    yield "an expectation that is none", _post(ASK, "Expect: x"), TWO
    yield "TRACE", request("/v1/models/one", method="TRACE"), REFUSED
    yield "another method in a header", _post(ASK, "X-HTTP-Method-Override: GET"), TWO
    yield "another path in a header", _post(ASK, "X-Original-URL: /services/one", "X-Rewrite-URL: /services/one"), TWO


def _bodies() -> Cases:
    two = '"model": "two"'
    yield "two models", _post(f'{{"model": "one", {two}, "messages": []}}'), TWO
    yield "two models around the prompt", _post(f'{{"model": "one", "messages": [], {two}}}'), TWO
    yield "two models after the prompt", _post(f'{{"messages": [], "model": "one", {two}}}'), TWO
    yield "a model escaped after another", _post('{"model": "one", "messages": [], "\\u006dodel": "two"}'), TWO
    yield "a model escaped at its end", _post('{"model": "one", "messages": [], "mode\\u006C": "two"}'), TWO
    yield "three models", _post(f'{{{two}, "prompt": 1, "model": "one", "messages": [], {two}}}'), TWO
    yield "a model and null", _post(f'{{{two}, "messages": [], "model": null}}'), REFUSED
    yield "a model and a list", _post(f'{{{two}, "messages": [], "model": ["one"]}}'), REFUSED
    yield "null and a model", _post(f'{{"model": null, "messages": [], {two}}}'), TWO
    yield "a model further in", _post(f'{{{two}, "messages": [], "x": {{"model": "one"}}, "y": ["model", "one"]}}'), TWO
    yield "a model in a text", _post(f'{{{two}, "messages": [], "x": "\\",\\"model\\":\\"one\\",\\""}}'), TWO
    yield "a model after an escaped quote", _post(f'{{{two}, "messages": [], "x\\\\": "model", "y": "\\\\"}}'), TWO
    many = "[]," * 60_000
    yield "a model before many brackets", _post(f'{{{two}, "messages": [{many}[]], "model": "one"}}'), REFUSED
    for name, text in {
        "in capitals": '{"MODEL": "two", "messages": []}',
        "with a space": '{"model ": "two", "messages": []}',
        "with letters like it": '{"m\u043edel": "two", "messages": []}',
        "with a null": '{"model": "two\\u0000", "messages": []}',
        "with half a letter": '{"model": "two\\ud800", "messages": []}',
        "with a bad escape": '{"model": "\\two", "messages": []}',
        "with a line end": '{"model": "two\n", "messages": []}',
        "of a list": f"[{{{two}}}]",
        "after a value": f"{{}} {{{two}}}",
        "after nothing": f'{{, {two}, "messages": []}}',
        "before a comma": f'{{{two}, "messages": [],}}',
        "in a comment": f'{{/* */ {two}, "messages": []}}',
        "in single quotes": "{'model': 'two', 'messages': []}",
        "without quotes": "{model: two}",
        "before another value": f'{{{two}, "messages": []}}{{"model": "one"}}',
        "after a form feed": f'\f{{{two}, "messages": []}}',
        "after another space": f'{{\u00a0{two}, "messages": []}}',
        "without an end": f'{{{two}, "messages": []',
        "deep inside": f'{{"x": {"[" * 90_000}',
        "after too deep a value": f'{{"x": {"[" * 40_000}{"]" * 40_000}, {two}, "messages": []}}',
        "of 1,100 letters": '{"model": "' + "two" * 400 + '", "messages": []}',
    }.items():
        yield f"a model {name}", _post(text), REFUSED
    yield "a number of 4,000 digits", _post(f'{{"x": {"9" * 4000}, {two}, "messages": []}}'), TWO
    yield "numbers beyond any", _post(f'{{"x": [1e999, -1e999, 1e-999, -0], {two}, "messages": []}}'), TWO
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-7"):
        data = ASK.replace('"model"', '"model"').encode(encoding)
        yield f"{encoding}", _post(data if encoding != "utf-7" else b"+AHs-" + data[1:]), REFUSED
    yield "bytes that are no UTF-8", _post(b'{"x\xff": 1, "model": "two", "messages": []}'), REFUSED
    yield "surrogates as UTF-8", _post(b'{"x": "\xed\xa0\x80", "model": "two", "messages": []}'), REFUSED
    yield "overlong UTF-8", _post(b'{"x": "\xc0\xa2", "model": "two", "messages": []}'), REFUSED
    yield "another content type", _post(ASK, content="text/plain"), TWO
    yield "the content type of a form", _post(ASK, content="multipart/form-data; boundary=x"), REFUSED
    yield (
        "the content type of a form in a parameter",
        _post(ASK, content="application/json; a=multipart/form-data"),
        TWO,
    )


def form_bodies() -> Mapping[str, tuple[str, bytes, str | None]]:
    """Forms by name: Content-Type, body, and the model; None: it has none that both read."""
    kind = "multipart/form-data; boundary=x"

    def part(name: str, value: str, *lines: str) -> str:
        head = "\r\n".join([f"Content-Disposition: form-data; {name}", *lines])
        return f"--x\r\n{head}\r\n\r\n{value}\r\n"

    model, other, end = 'name="model"', 'name="file"; filename="a.wav"', "--x--\r\n"
    fake = '\r\nContent-Disposition: form-data; name="model"\r\n\r\none\r\n'
    plain = {
        "one model": (part(other, "\0") + part(model, "two") + end, "two"),
        "two models": (part(model, "one") + part(model, "two") + end, "two"),
        "a model and a file of that name": (part(model, "two") + part(f'{model}; filename="x"', "one") + end, None),
        "a model in a file": (part(model, "two") + part(other, fake) + end, "two"),
        "a model in a file, after": (part(other, fake) + part(model, "two") + end, "two"),
        "a model after the end": (part(model, "two") + end + part(model, "one") + end, "two"),
        "a model before the beginning": (fake + part(model, "two") + end, None),
        "a longer boundary in a file": (part(other, "\r\n--xy" + fake) + part(model, "two") + end, "two"),
        "a boundary with spaces": (part(other, "\r\n--x " + fake) + part(model, "two") + end, "two"),
        "no quotes": (part("name=model", "two") + end, "two"),
        "no end": (part(model, "two"), None),
        "line feeds alone": ((part(model, "two") + end).replace("\r\n", "\n"), None),
        "a folded head": (part(f'x="y";\r\n {model}', "two") + end, None),
        "two dispositions": (part('name="a"', "two", f"Content-Disposition: form-data; {model}") + end, None),
        "two names": (part(f'name="a"; {model}', "two") + end, None),
        "an escaped quote": (part('name="mo\\del"', "two") + end, None),
        "an empty file first": (part(other, "")[:-2] + "\r\n" + part(model, "two") + end, "two"),
        "letters of the head in capitals": (
            part(model, "two").replace("Content-Disposition", "CONTENT-DISPOSITION") + end,
            "two",
        ),
        "a model with a line end": (part(model, "two\r\n") + end, None),
        "a name beyond ASCII": (
            part('name="file"; filename=""; filename*=UTF-8\'\'%C3%A4.wav', "\0") + part(model, "two") + end,
            "two",
        ),
    }
    found = {name: (kind, body.encode(), read) for name, (body, read) in plain.items()}
    usual = (part(model, "two") + end).encode()
    for name, given in {
        "quoted boundary": 'multipart/form-data; boundary="x"',
        "type in capitals": "Multipart/Form-Data; boundary=x",
    }.items():
        found[name] = (given, usual, "two")
    for name, given in {
        "no boundary": "multipart/form-data",
        "two boundaries": "multipart/form-data; boundary=x; boundary=y",
        "escaped boundary": 'multipart/form-data; boundary="\\x"',
        "boundary in another value": 'multipart/form-data; a="; boundary=y"; boundary=x',
    }.items():
        found[name] = (given, usual, None)
    return found


def _forms() -> Cases:
    for name, (kind, body, model) in form_bodies().items():
        yield name, _post(body, target="/v1/audio/transcriptions", content=kind), model or REFUSED
