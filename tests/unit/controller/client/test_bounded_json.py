"""What the API server answers is read, however deep and large its authors made it."""

import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from llmservice_contract.foreign import without_owned_fields as bare
from llmservice_operator.controller.client.bounded_json import Answer, Unreadable, loads
from llmservice_operator.controller.client.trim import LARGEST, trim
from llmservice_operator.resources.kinds import CONFIGMAP
from unit.controller.conftest import Shell


def deep(levels: int = 5000) -> str:
    """Who owns which field, as the API server took it from a tenant."""
    return '{"f:a":' * levels + "{}" + "}" * levels


def an_object(fields: str, **more: Any) -> str:
    entry = {"manager": "m", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": "@@"}
    meta = {"namespace": "team-a", "name": "a", "uid": "u", "resourceVersion": "1", "managedFields": [entry]}
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, **more}
    return json.dumps(obj).replace('"@@"', fields)


def test_fields_thousands_of_levels_deep_are_no_error() -> None:
    text = an_object(deep()).encode()
    with pytest.raises(RecursionError):
        json.loads(text)
    assert loads(text)["metadata"]["managedFields"] == [{"manager": "m"}]


def test_nothing_but_the_fields_goes() -> None:
    keys = {'k:{"name":"a]b"}': {}, "f:x\\": {".": {}}, 'v:"]}"': {}, "f:manager": {}}
    entries = [
        {"manager": "one", "operation": "Apply", "fieldsV1": keys},
        {"operation": "Update", "fieldsV1": keys},
        {"fieldsV1": keys, "manager": 'a "quoted" ]', "operation": "Update", "subresource": "status"},
    ]
    tricky = {"text": 'say "managedFields":[1] and \\', "more": ['"managedFields":[']}
    meta = {"name": "a", "managedFields": entries, "labels": {"b": "c"}}
    inner = {"template": {"metadata": {"managedFields": entries[:1]}}, "empty": {"managedFields": []}}
    for separators in ((",", ":"), (", ", ": ")):
        found = loads(json.dumps({"metadata": meta, "data": tricky, "spec": inner}, separators=separators).encode())
        assert [each["manager"] for each in found["metadata"].pop("managedFields")] == ["one", "", 'a "quoted" ]']
        assert found["metadata"] == {"name": "a", "labels": {"b": "c"}}
        assert found["data"] == tricky
        assert found["spec"]["template"]["metadata"] == {"managedFields": [{"manager": "one"}]}
        assert found["spec"]["empty"] == {"managedFields": []}


def test_who_owns_a_number_of_replicas_is_read() -> None:
    owned = {"f:metadata": {"f:labels": {}}, "f:spec": {"f:model": {"f:source": {}}, "f:replicas": {}}}
    status = {"f:status": {"f:replicas": {}}}
    entries = [
        {"manager": "operator", "operation": "Update", "fieldsV1": status, "subresource": "status"},
        {"manager": "argocd", "operation": "Apply", "time": "2026-01-01T12:00:00Z", "fieldsV1": owned},
        {"manager": "hpa", "operation": "Update", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
    ]
    fields = {"f:spec": {"f:replicas": {}}}
    assert loads(json.dumps({"metadata": {"managedFields": entries}}).encode())["metadata"]["managedFields"] == [
        {"manager": "operator"},
        {"manager": "argocd", "operation": "Apply", "time": "2026-01-01T12:00:00Z", "fieldsV1": fields},
        {"manager": "hpa", "operation": "Update", "subresource": "scale", "fieldsV1": fields},
    ]


@pytest.mark.parametrize(
    "fields",
    [
        deep().replace("{}", '{"f:replicas":{}}'),
        '{"f:spec":{"f:replicas":{},"f:a":' + deep() + "}}",
        '{"f:spec":["f:replicas"]}',
        '{"f:spec":"f:replicas"}',
        '{"f:spec":{"f:replicas":{}},"f:x":{"' + "x" * 20_000 + '":{}}}',
    ],
    ids=["deep", "beside-deep", "list", "text", "long"],
)
def test_owners_whose_fields_are_made_up_are_names_or_nothing(fields: str) -> None:
    try:
        found = loads(an_object(fields).encode())["metadata"]["managedFields"]
    except Unreadable:
        return
    assert found == [{"manager": "m"}]


def test_whatever_else_is_wrong_is_one_error() -> None:
    for text in (b"", b'{"a":', b'{"managedFields":[{"a":"', b"[" * 20_000, b'{"a":' + b"1" * 5000 + b"}", b"\xff"):
        with pytest.raises(Unreadable):
            loads(text)


def test_without_such_fields_nothing_is_copied() -> None:
    text = b'{"kind":"Status"}'
    assert bare(text) is text


async def test_a_request_is_answered_by_such_an_object(shell: Shell) -> None:
    obj = json.loads(an_object('"deep"'))
    obj["metadata"]["managedFields"][0]["fieldsV1"] = {"f:a": {}}
    shell.api.put(obj)
    found = await shell.cluster.get(CONFIGMAP, "team-a", "a")
    assert found is not None
    assert found["metadata"]["managedFields"] == [{"manager": "m"}]


async def test_the_stream_reads_lists_and_lines_of_such_objects() -> None:
    large = an_object("{}", data={"value": "x" * (LARGEST + 1)})
    small = an_object(deep(), data={"value": "é\n"})

    async def listing(_: web.Request) -> web.Response:
        text = f'{{"kind":"ConfigMapList","metadata":{{}},"items":[{small},{large}]}}'
        return web.Response(text=text, content_type="application/json")

    async def watch(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        event = f'{{"type":"ADDED","object":{small}}}\n'.encode()
        for part in (event + event[:100], event[100:5000], event[5000:] + b"\n"):
            await response.write(part)
        return response

    async def proxy(_: web.Request) -> web.Response:
        return web.Response(status=502, text="<html>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/proxy", proxy)
    app.router.add_get("/list", listing)
    app.router.add_get("/watch", watch)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with aiohttp.ClientSession(response_class=Answer) as session:
            async with session.get(f"{url}/list") as response:
                first, second = (await response.json())["items"]
            assert first["data"] == {"value": "é\n"}
            assert second["metadata"]["name"] == "a"
            assert "data" not in second
            async with session.get(f"{url}/watch") as response:
                text = b"".join([part async for part in response.content.iter_chunked(1000)])
            events = [json.loads(line) for line in text.splitlines() if line]
            assert [event["object"]["data"] for event in events] == [{"value": "é\n"}] * 2
            async with session.get(f"{url}/proxy") as response:
                with pytest.raises(aiohttp.ContentTypeError):
                    await response.json()
    finally:
        await runner.cleanup()


def test_of_a_service_hardly_anything_is_kept_of_labels_owners_and_annotations() -> None:
    many = {f"llmservice.dev/a{number}": "x" for number in range(20_000)}
    owners = [{"kind": "LLMService", "name": f"n{number}", "uid": "u"} for number in range(10_000)]
    meta = {"namespace": "team-a", "name": "a", "uid": "u", "resourceVersion": "1", "generation": 2}
    obj = {
        "apiVersion": "llmservice.dev/v1alpha1",
        "kind": "LLMService",
        "metadata": {
            **meta,
            "labels": many,
            "ownerReferences": owners,
            "finalizers": list(many),
            "annotations": {**many, "llmservice.dev/long": "x" * 200_000},
        },
        "spec": {"model": {"source": "hf://a/b"}},
    }
    kept = trim(obj)
    assert len(json.dumps(kept)) < 2000
    assert {key: kept["metadata"][key] for key in meta} == meta
    assert kept["spec"] == obj["spec"]
    assert set(kept["metadata"]) == {*meta, "annotations"}
