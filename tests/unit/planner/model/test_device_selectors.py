"""CEL selectors of devices: what is evaluated, and what counts as not known."""

import pytest

from llmservice_operator.planner.model import device_selectors
from llmservice_operator.planner.model.device_selectors import LONGEST, MOST_TERMS, matches
from llmservice_operator.planner.model.observed import Device

D = "gpu.nvidia.com"
DEVICE = Device(
    "node-a",
    D,
    "gpu-0",
    {f"{D}/type": "gpu", f"{D}/productName": "NVIDIA H100", f"{D}/index": 3, f"{D}/shared": False, "other/x": "y"},
    {f"{D}/memory": 80 << 30},
    taken=False,
)
A, C = f"device.attributes['{D}']", f'device.capacity["{D}"]'


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("true", True),
        ("false", False),
        (f"device.driver == '{D}'", True),
        (f'device.driver == "{D}"', True),
        (f"device.driver != '{D}'", False),
        (f"device.driver == '{D}' && {A}.type == 'gpu'", True),
        (f"device.driver == '{D}' && {A}.type == 'mig'", False),
        (f"{A}.type=='gpu'&&{A}.index>=3", True),
        (f"{A}.index > 3", False),
        (f"{A}.productName in ['NVIDIA H100', 'NVIDIA H200']", True),
        (f"{A}.productName in ['NVIDIA H200']", False),
        (f"{A}.productName == 'a && b'", False),
        (f"{A}.shared", False),
        (f"!{A}.shared", True),
        ("device.attributes['other'].x == 'y'", True),
        (f"{C}.memory.compareTo(quantity('80Gi')) >= 0", True),
        (f"{C}.memory.compareTo(quantity('81Gi')) >= 0", False),
        (f"{C}.memory.compareTo(quantity('80Gi')) == 0", True),
        # What the device lacks, or has of another type, selects nothing.
        (f"{A}.absent == 'x'", False),
        (f"{A}.absent != 'x'", False),
        (f"{A}.index == '3'", False),
        (f"{A}.shared == 0", False),
        # Not known, unless another part excludes the device.
        (f"{A}.type == 'gpu' || {A}.type == 'mig'", None),
        (f"{A}.productName.lowerAscii().matches('^.*h100.*$')", None),
        (f"{A}.productName.matches('x') && device.driver == 'other'", False),
        (f"({A}.type == 'gpu')", None),
        (f"has({A}.type) ? true : false", None),
        ("", None),
        ("'", None),
        ("&&", None),
        (f"{C}.memory.compareTo(quantity('lots')) >= 0", None),
        ("true" + " " * LONGEST, None),
    ],
)
def test_an_expression(expression: str, expected: bool | None) -> None:
    assert matches(DEVICE, [expression]) is expected


def test_all_expressions_must_hold() -> None:
    assert matches(DEVICE, []) is True
    assert matches(DEVICE, ["true", "unknown()"]) is None
    assert matches(DEVICE, ["unknown()", "false"]) is False


def test_long_expressions_take_no_time() -> None:
    for text in ("(" * LONGEST, "'" * LONGEST, "&&" * (LONGEST // 2), "device.attributes['" + " " * 9000):
        assert matches(DEVICE, [text]) is None


def test_a_selector_is_parsed_once_for_all_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant's selectors are evaluated for up to 4096 devices in one plan."""
    parsed = []
    term = device_selectors._term
    monkeypatch.setattr(device_selectors, "_term", lambda *of: parsed.append(of) or term(*of))
    expression = f"{A}.type == 'gpu' && {A}.index == 3 && parsed.once()"
    assert {matches(DEVICE, [expression]) for _ in range(100)} == {None}
    assert len(parsed) == 3


def test_of_many_comparisons_none_is_evaluated() -> None:
    one = f"{A}.index == 4"
    assert matches(DEVICE, [" && ".join([one] * MOST_TERMS)]) is False
    assert matches(DEVICE, [" && ".join([one] * (MOST_TERMS + 1))]) is None
