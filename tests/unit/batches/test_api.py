"""Files and batches through OpenAI's own client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import openai
import pytest

from support import batches
from support.batches import (
    HTTP,
    BatchesProcess,
    StubGateway,
    batches_process,
    create,
    line,
    lines,
    results,
    upload,
    wait_for,
)

SETTINGS = {"max_file": 1, "max_lines": 100, "key_storage": 3, "namespace_storage": 4, "key_batches": 3}


@pytest.fixture(scope="module")
def gateway() -> Iterator[StubGateway]:
    made = StubGateway(["key-1", "key-2", "full", "many", "later"])
    yield made
    made.stop()


@pytest.fixture(scope="module")
def program(gateway: StubGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BatchesProcess]:
    with batches_process(tmp_path_factory.mktemp("batches") / "data", gateway.url, **SETTINGS) as made:
        yield made


@pytest.fixture(autouse=True)
def usual(gateway: StubGateway) -> Iterator[None]:
    yield
    gateway.behavior, gateway.without_replica = None, 0


def test_a_batch_is_answered(gateway: StubGateway, program: BatchesProcess) -> None:
    client = program.client()
    batch = create(client, lines(20), metadata={"of": "me"})
    assert (batch.status, batch.metadata) == ("validating", {"of": "me"})
    batch = wait_for(client, batch.id)
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == {"total": 20, "completed": 20, "failed": 0}
    assert batch.error_file_id is None
    found = results(client, batch.output_file_id)
    assert {each["custom_id"]: each["response"]["body"]["choices"][0]["message"]["content"] for each in found} == {
        f"line-{number}": f"answer to line-{number}" for number in range(20)
    }
    assert all(each["response"]["status_code"] == 200 and each["error"] is None for each in found)
    assert len(found) == 20
    assert batch.in_progress_at is not None
    assert batch.completed_at is not None


def test_lines_that_the_service_refuses_are_in_the_error_file(gateway: StubGateway, program: BatchesProcess) -> None:
    async def refuse(request: batches.web.Request, body: dict[str, object]) -> batches.web.Response | None:
        if body.get("max_tokens") == -1:
            return batches.web.json_response({"error": {"code": "bad"}}, status=400)
        return None

    gateway.behavior = refuse
    client = program.client()
    body = {"model": "chat", "messages": [{"role": "user", "content": "x"}], "max_tokens": -1}
    batch = wait_for(client, create(client, line("good") + b"\n\n" + line("bad", body=body)).id)
    assert batch.status == "completed"
    assert [each["custom_id"] for each in results(client, batch.output_file_id)] == ["good"]
    (error,) = results(client, batch.error_file_id)
    assert (error["custom_id"], error["response"]["status_code"]) == ("bad", 400)
    assert error["response"]["body"] == {"error": {"code": "bad"}}


@pytest.mark.parametrize(
    ("content", "code", "row"),
    [
        (b"", "empty_file", None),
        (b"\n \n", "empty_file", None),
        (b"no JSON", "invalid_json_line", 1),
        (b"[" * 100_000, "invalid_json_line", 1),
        (line("a") + b"\n" + line("a"), "duplicate_custom_id", 2),
        (line(""), "invalid_custom_id", 1),
        (line("a" * 513), "invalid_custom_id", 1),
        (line("a", method="GET"), "invalid_method", 1),
        (line("a", url="/v1/files"), "mismatched_endpoint", 1),
        (line("a", url="/v1/chat/completions/../../admin"), "mismatched_endpoint", 1),
        (line("a", body={"model": "chat", "stream": True}), "streaming", 1),
        (line("a", body={"model": ["chat"]}), "invalid_model", 1),
        (line("a", body=[1]), "invalid_json_line", 1),
        (line("a", body="{}"), "invalid_json_line", 1),
        (b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}', "invalid_json_line", 1),
        (b'{"custom_id": "\xff", "method": "POST", "url": "/v1/chat/completions", "body": {}}', "invalid_json_line", 1),
        (lines(101), "too_many_lines", None),
        (b"\n".join(line(f"{n}", model=f"m{n}") for n in range(65)), "too_many_models", 65),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_input_that_is_no_batch_says_why(
    gateway: StubGateway, program: BatchesProcess, content: bytes, code: str, row: int | None
) -> None:
    client = program.client()
    before = gateway.asked.total()
    batch = wait_for(client, create(client, content).id)
    assert batch.status == "failed"
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert (batch.errors.data[0].code, batch.errors.data[0].line) == (code, row)
    assert gateway.asked.total() == before


def test_files_and_batches_belong_to_their_key(program: BatchesProcess) -> None:
    mine, other = program.client(), program.client("key-2")
    batch = wait_for(mine, create(mine, lines(1)).id)
    assert batch.output_file_id
    for ask in (
        lambda: other.files.retrieve(batch.input_file_id),
        lambda: other.files.content(batch.output_file_id or ""),
        lambda: other.files.delete(batch.input_file_id),
        lambda: other.batches.retrieve(batch.id),
        lambda: other.batches.cancel(batch.id),
    ):
        with pytest.raises(openai.NotFoundError):
            ask()
    with pytest.raises(openai.BadRequestError, match="no file with this id"):
        other.batches.create(input_file_id=batch.input_file_id, endpoint=batches.ENDPOINT, completion_window="24h")
    assert batch.id not in {each.id for each in other.batches.list()}
    assert batch.input_file_id not in {each.id for each in other.files.list()}
    assert batch.id in {each.id for each in mine.batches.list()}
    assert {batch.input_file_id, batch.output_file_id} <= {each.id for each in mine.files.list()}


@pytest.mark.parametrize("authorization", ["Bearer wrong", "Bearer", "Basic key-1", "key-1", f"Bearer {'k' * 600}"])
def test_a_key_that_no_service_accepts_gets_nothing(program: BatchesProcess, authorization: str) -> None:
    url = f"http://127.0.0.1:{program.port}/namespaces/{batches.NAMESPACE}/v1/files"
    answer = HTTP.get(url, headers={"Authorization": authorization})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


def test_two_different_keys_are_no_key(program: BatchesProcess) -> None:
    url = f"http://127.0.0.1:{program.port}/namespaces/{batches.NAMESPACE}/v1/files"
    answer = HTTP.get(url, headers={"Authorization": "Bearer key-1", "x-api-key": "key-2"})
    assert answer.status_code == 401
    assert HTTP.get(url, headers={"x-api-key": "key-2"}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/files", "/namespaces/Team/v1/files", "/namespaces/team-b/v1/files", "/namespaces/a%2Fb/v1/files"]
)
def test_another_namespace_is_not_found(program: BatchesProcess, path: str) -> None:
    answer = HTTP.get(f"http://127.0.0.1:{program.port}{path}", headers={"Authorization": "Bearer key-1"})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"]


def test_without_a_replica_a_known_key_may_read_and_no_more(gateway: StubGateway, program: BatchesProcess) -> None:
    client, unknown = program.client("later"), program.client("never-seen")
    batch = wait_for(client, create(client, lines(1)).id)
    gateway.without_replica = 1
    assert results(client, batch.output_file_id)
    with pytest.raises(openai.InternalServerError) as refused:
        unknown.files.list()
    assert refused.value.status_code == 503


def test_pages_have_the_newest_first(program: BatchesProcess) -> None:
    client = program.client("many")
    made = [upload(client, b"x", f"file-{number}").id for number in range(5)]
    assert [each.id for each in client.files.list(limit=2)] == made[::-1]
    assert [each.id for each in client.files.list(limit=2, order="asc")] == made
    assert [each.id for each in client.files.list(after=made[2]).data] == [made[1], made[0]]
    done = [create(client, lines(1)) for _ in range(3)]
    for each in done:
        wait_for(client, each.id)
    assert [each.id for each in client.batches.list(limit=1)] == [each.id for each in done[::-1]]


def test_a_cancelled_batch_has_a_result_for_each_line(gateway: StubGateway, program: BatchesProcess) -> None:
    async def hold(request: batches.web.Request, body: dict[str, object]) -> None:
        if gateway.in_work > 1 or gateway.asked.total() > before + 3:
            await batches.asyncio.sleep(60)

    before = gateway.asked.total()
    gateway.behavior = hold
    client = program.client()
    batch = create(client, lines(30))
    batches.wait_until(lambda: gateway.asked.total() > before + 3, "some lines are answered", every=0.02)
    assert client.batches.cancel(batch.id).status == "cancelling"
    batch = wait_for(client, batch.id)
    assert batch.status == "cancelled"
    assert batch.cancelling_at is not None
    assert batches.custom_ids(client, batch) == Counter(f"line-{number}" for number in range(30))
    codes = {each["error"]["code"] for each in results(client, batch.error_file_id)}
    assert codes == {"batch_cancelled"}
    assert client.batches.cancel(batch.id).status == "cancelled"


def test_a_file_that_a_batch_reads_is_not_deleted(gateway: StubGateway, program: BatchesProcess) -> None:
    async def hold(request: batches.web.Request, body: dict[str, object]) -> None:
        await batches.asyncio.sleep(60)

    gateway.behavior = hold
    client = program.client()
    batch = create(client, lines(2))
    with pytest.raises(openai.ConflictError):
        client.files.delete(batch.input_file_id)
    client.batches.cancel(batch.id)
    wait_for(client, batch.id)
    assert client.files.delete(batch.input_file_id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(batch.input_file_id)


def test_a_key_has_a_bounded_number_of_batches(gateway: StubGateway, program: BatchesProcess) -> None:
    async def hold(request: batches.web.Request, body: dict[str, object]) -> None:
        await batches.asyncio.sleep(60)

    gateway.behavior = hold
    client = program.client("many")
    made = [create(client, lines(1)) for _ in range(3)]
    with pytest.raises(openai.RateLimitError) as refused:
        create(client, lines(1))
    assert refused.value.code == "too_many_batches"
    for each in made:
        client.batches.cancel(each.id)
    for each in made:
        assert wait_for(client, each.id).status == "cancelled"


def test_sizes_are_bounded(program: BatchesProcess) -> None:
    client = program.client("full")
    with pytest.raises(openai.APIStatusError) as refused:
        upload(client, b"x" * (2**20 + 1))
    assert (refused.value.status_code, refused.value.code) == (413, "file_too_large")
    made = [upload(client, b"x" * 2**20).id for _ in range(3)]
    with pytest.raises(openai.PermissionDeniedError) as denied:
        upload(client, b"x")
    assert denied.value.code == "quota_key_bytes"
    client.files.delete(made[0])
    upload(client, b"x")
    stored = {each.name for each in (program.directory / "files").iterdir()}
    assert made[0] not in stored
    assert not list((program.directory / "uploads").iterdir())


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"endpoint": "/v1/models"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {"a": "x" * 513}}, "metadata"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"input_file_id": "file-../../etc/passwd"}, "no_input_file"),
        ({"input_file_id": 3}, "invalid_body"),
    ],
)
def test_a_batch_that_can_not_be_made_says_why(program: BatchesProcess, changes: dict[str, object], code: str) -> None:
    url = f"http://127.0.0.1:{program.port}/namespaces/{batches.NAMESPACE}/v1/batches"
    body = {"input_file_id": "file-1", "endpoint": batches.ENDPOINT, "completion_window": "24h", **changes}
    answer = HTTP.post(url, json=body, headers={"Authorization": "Bearer key-1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"purpose": (None, "batch")}, "no_file"),
        ({"file": ("a", b"x")}, "purpose"),
        ({"file": ("a", b"x"), "purpose": (None, "fine-tune")}, "purpose"),
        ({"file": ("a", b"x"), "purpose": (None, "b" * 1000)}, "invalid_form"),
        ({"file": ("a", b"x"), "purpose": (None, "batch"), "expires_after[seconds]": (None, "1")}, "expires_after"),
        ({f"field-{number}": (None, "") for number in range(9)}, "invalid_form"),
    ],
)
def test_a_form_that_is_no_file_says_why(program: BatchesProcess, form: dict[str, object], code: str) -> None:
    url = f"http://127.0.0.1:{program.port}/namespaces/{batches.NAMESPACE}/v1/files"
    answer = HTTP.post(url, files=form, headers={"Authorization": "Bearer key-1"})  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


@pytest.mark.parametrize(
    "body", [b"", b"--x", b"--x\r\n\r\n", b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y"]
)
def test_a_broken_form_is_refused(program: BatchesProcess, body: bytes) -> None:
    url = f"http://127.0.0.1:{program.port}/namespaces/{batches.NAMESPACE}/v1/files"
    headers = {"Authorization": "Bearer key-1", "Content-Type": "multipart/form-data; boundary=x"}
    answer = HTTP.post(url, content=body, headers=headers)
    assert answer.status_code == 400
    assert not list((program.directory / "uploads").iterdir())


def test_the_form_may_name_the_purpose_last(program: BatchesProcess) -> None:
    url = f"http://127.0.0.1:{program.port}/namespaces/{batches.NAMESPACE}/v1/files"
    form = {"file": ("a\r\nb", b"x"), "purpose": (None, "batch"), "expires_after[seconds]": (None, "3600")}
    answer = HTTP.post(url, files=form, headers={"Authorization": "Bearer key-1"})  # type: ignore[arg-type]
    assert answer.status_code == 200
    assert answer.json()["expires_at"] == answer.json()["created_at"] + 3600


def test_metrics_count_lines(program: BatchesProcess) -> None:
    client = program.client()
    wait_for(client, create(client, lines(1)).id)
    page = HTTP.get(f"http://127.0.0.1:{program.metrics_port}/metrics").text
    assert 'llmservice_batches_lines_total{result="answered"}' in page
    assert 'llmservice_batches_ended_total{status="completed"}' in page


def test_no_key_is_on_the_disk_or_in_the_log(gateway: StubGateway, program: BatchesProcess) -> None:
    async def hold(request: batches.web.Request, body: dict[str, object]) -> None:
        await batches.asyncio.sleep(60)

    gateway.behavior = hold
    client = program.client("key-2")
    batch = create(client, lines(1))
    batches.wait_until(lambda: gateway.in_work, "the line is in work", every=0.02)
    everything = b"".join(path.read_bytes() for path in program.directory.rglob("*") if path.is_file())
    assert b"key-2" not in everything
    assert "key-2" not in program.log()
    assert batch.id.encode() in everything
    client.batches.cancel(batch.id)
    wait_for(client, batch.id)


def test_answers_are_json_in_one_line(gateway: StubGateway, program: BatchesProcess) -> None:
    async def odd(request: batches.web.Request, body: dict[str, object]) -> batches.web.Response | None:
        text = {
            "broken": b'{"a": "1\n2"',
            "lines": b'{\n  "a":\r\n 1}',
            "stream": b"data: [DONE]\n\n",
        }[body["messages"][-1]["content"]]  # type: ignore[index]
        return batches.web.Response(body=text, content_type="application/json")

    gateway.behavior = odd
    client = program.client()
    batch = wait_for(client, create(client, b"\n".join(line(each) for each in ("broken", "lines", "stream"))).id)
    (found,) = results(client, batch.output_file_id)
    assert (found["custom_id"], found["response"]["body"]) == ("lines", {"a": 1})
    errors = {each["custom_id"]: each["error"]["code"] for each in results(client, batch.error_file_id)}
    assert errors == {"broken": "invalid_answer", "stream": "invalid_answer"}
