"""Prints the JSON schema of a document that kubectl llm prints, with what llmservice_operator.cli.wire says of a field.

python hack/generators/cli_schemas.py [NAME]: the schema; without a NAME all names.
"""

import ast
import inspect
import json
import sys
from collections.abc import Iterator

import msgspec

from llmservice_operator.cli import wire


def main() -> None:
    """Print what the command line asks for."""
    if len(sys.argv) == 1:
        print("\n".join(wire.DOCUMENTS))
        return
    schema = wire.schema(sys.argv[1])
    for name, part in schema["$defs"].items():
        for field, description in _descriptions(getattr(wire, name)):
            part["properties"][field]["description"] = description
    print(json.dumps(schema, indent=2, ensure_ascii=False))


def _descriptions(part: type[wire.Part]) -> Iterator[tuple[str, str]]:
    """Names in the JSON, and the docstrings of their fields, those of base classes too."""
    names = {field.name: field.encode_name for field in msgspec.structs.fields(part)}
    for each in inspect.getmro(part):
        if each is not msgspec.Struct and issubclass(each, wire.Part):
            (definition,) = ast.parse(inspect.getsource(each)).body
            assert isinstance(definition, ast.ClassDef)
            for field, after in zip(definition.body, definition.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _is_text(after):
                    yield names[field.target.id], inspect.cleandoc(ast.literal_eval(after.value))  # type: ignore[attr-defined]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


if __name__ == "__main__":
    main()
