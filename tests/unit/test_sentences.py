"""No code takes a sentence of ours apart, so that a better sentence changes no behaviour.

Facts have fields (`llmservice_contract.finding`). What others write (Kubernetes, vLLM, container runtimes) has to be
read from their words: the places that do so are listed here.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
METHODS = {
    *("startswith", "endswith", "partition", "rpartition", "split", "rsplit", "find", "index", "removeprefix"),
    *("removesuffix", "replace"),
}
PATTERNS = {"search", "match", "fullmatch", "findall", "finditer", "sub", "split"}
SENTENCES = {"message", "fix", "alternative", "summary", "why", "headline", "note", "account"}
WORDS_OF_OTHERS = {
    "operator/llmservice_operator/planner/diagnosis/container_exit.py": "Events of the kubelet",
    "operator/llmservice_operator/planner/diagnosis/image_pull.py": "the container runtime's words on an image",
    "operator/llmservice_operator/planner/diagnosis/kubelet.py": "Events of the kubelet",
    "operator/llmservice_operator/planner/diagnosis/node_autoscaler.py": "Events of node autoscalers",
    "operator/llmservice_operator/planner/diagnosis/readiness.py": "Events of the kubelet",
    "operator/llmservice_operator/planner/diagnosis/admission.py": "Events and answers of the API server",
    "operator/llmservice_operator/cli/api_errors.py": "answers of the API server",
    "operator/llmservice_operator/cli/explain/report.py": "Events",
    "operator/llmservice_operator/cli/keys/keyring.py": "answers of the API server",
    "operator/llmservice_operator/cli/plan/dry_run.py": "answers of the API server",
    "runtime/llmservice_runtime/diagnosis/device.py": "vLLM's output",
}


def test_no_sentence_of_ours_is_taken_apart() -> None:
    found = {
        f"{file.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for file in _sources()
        if str(file.relative_to(ROOT)) not in WORDS_OF_OTHERS
        for node in ast.walk(ast.parse(file.read_text()))
        if _takes_apart(node)
    }
    assert not found, "give the fact a field of its own instead of reading it from a sentence"


def test_the_list_of_places_that_read_the_words_of_others_is_not_longer_than_needed() -> None:
    for name in WORDS_OF_OTHERS:
        assert any(map(_takes_apart, ast.walk(ast.parse((ROOT / name).read_text())))), name


def test_what_takes_a_sentence_apart_is_seen() -> None:
    for text in (
        'found.message.partition(": ")',
        'str(condition.get("message", "")).startswith(wants)',
        "re.search(pattern, finding.message)",
        '"spec." in each["message"]',
        "PATTERN.findall(problem.fix)",
    ):
        assert any(map(_takes_apart, ast.walk(ast.parse(text)))), text


def _sources() -> Iterator[Path]:
    for package in ("operator/llmservice_operator", "runtime/llmservice_runtime", "runtime/llmservice_contract"):
        yield from sorted((ROOT / package).rglob("*.py"))


def _takes_apart(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=value, attr=name), args=arguments):
            return (name in METHODS and _is_sentence(value)) or (name in PATTERNS and any(map(_is_sentence, arguments)))
        case ast.Compare(ops=operators, comparators=values):
            return any(isinstance(each, ast.In | ast.NotIn) for each in operators) and any(map(_is_sentence, values))
    return False


def _is_sentence(node: ast.expr) -> bool:
    match node:
        case ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str(name))):
            return name in SENTENCES
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str(name)), *_]):
            return name in SENTENCES
        case ast.Call(func=ast.Name(id="str"), args=[inner, *_]):
            return _is_sentence(inner)
        case ast.Call(func=ast.Name(id="sentence" | "account")):
            return True
        case ast.Call(func=ast.Attribute(value=inner, attr="lower" | "upper" | "strip" | "casefold")):
            return _is_sentence(inner)
        case ast.BoolOp(values=values):
            return any(map(_is_sentence, values))
    return False
