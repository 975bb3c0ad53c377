"""What the demo draws and reads."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[2] / "hack" / part) for part in ("demo", ".")]

import plot  # noqa: E402
import samples  # noqa: E402
import scaling  # noqa: E402

TARGET = 0.5


def a_sample(latency: float | None, wanted: int = 1, ready: int = 1) -> samples.Sample:
    return samples.Sample(0.0, latency, "170/100 (avg)", wanted, ready, (True, ""), loaded=True)


def rows(shown: list[samples.Sample], width: int = 80) -> list[str]:
    return plot.chart(shown, TARGET, width).plain.splitlines()


def test_only_what_is_above_the_target_reaches_its_line() -> None:
    drawn = rows([a_sample(0.1), a_sample(0.4), a_sample(2.0), a_sample(None)])
    (target,) = [row for row in drawn if "target" in row]
    assert target.split("┼")[1].startswith("──█─")
    assert drawn[0].split("┤")[1].rstrip() == "  █"
    assert drawn[plot.ROWS - 1].split("┤")[1].rstrip() == "███", "no value leaves its column empty"


def test_replicas_stand_below_their_time_and_the_newest_are_kept() -> None:
    shown = [a_sample(1.0), *[a_sample(1.0, wanted=2)] * 30, a_sample(1.0, wanted=2, ready=2)]
    drawn = rows(shown, width=plot.GAP + 4)
    assert drawn[-2].split() == ["wanted", "2222"]
    assert drawn[-1].split() == ["ready", "1112"]


@pytest.mark.parametrize("shown", [[], [a_sample(None)], [a_sample(TARGET)], [a_sample(0.0)]])
def test_a_story_that_has_hardly_begun_can_be_drawn(shown: list[samples.Sample], tmp_path: Path) -> None:
    assert any("target" in row for row in rows(shown))
    if shown:
        plot.save(shown, TARGET, "", tmp_path / "made" / "picture.png")
        assert (tmp_path / "made" / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_latency_of_an_answer_and_of_none() -> None:
    item = {"metricName": "m", "metricLabels": {}, "timestamp": "2026-01-01T00:00:00Z", "value": "412500u"}
    assert samples.latency(json.dumps({"items": [item]})) == pytest.approx(0.4125)
    assert samples.latency(json.dumps({"items": [{**item, "value": "1875m"}]})) == pytest.approx(1.875)
    assert samples.latency(json.dumps({"items": [{**item, "value": "2"}]})) == 2
    assert samples.latency(json.dumps({"items": []})) is None
    assert samples.latency("") is None


def test_the_target_of_a_line_of_kubectl() -> None:
    assert samples.load_column("chat   LLMService/chat   170/100 (avg)   1   2   1   5m\n") == "170/100 (avg)"
    assert samples.load_column("chat   LLMService/chat   <unknown>/100 (avg)   1   2   1   5m\n") == (
        "<unknown>/100 (avg)"
    )
    assert samples.load_column("") == ""


def test_the_selector_in_an_autoscalers_words_is_left_out() -> None:
    labels, expressions = "map[string]string{llmservice: chat,}", "[]LabelSelectorRequirement{}"
    selector = f"&LabelSelector{{MatchLabels:{labels},MatchExpressions:{expressions},}}"
    words = f"external metric llmservice_load_percent({selector}) above target"
    assert scaling.SELECTOR.sub("", words) == "external metric llmservice_load_percent above target"
    words = f"metric demo/llmservice_load_percent/{selector}: no metrics returned"
    assert scaling.SELECTOR.sub("", words) == "metric demo/llmservice_load_percent: no metrics returned"
