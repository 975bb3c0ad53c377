"""The settings that say what authors of services may name."""

import json
from pathlib import Path

import pytest
import yaml

from llmservice_operator.config.allowed import POD_FIELDS
from llmservice_operator.config.settings import SettingsError, from_environment

ROOT = Path(__file__).parents[3]


def test_what_authors_may_name_is_read() -> None:
    allowed = from_environment(
        {
            "LLMSERVICE_ALLOWED_SERVICE_ACCOUNTS": "team-a/reader, team-b/reader",
            "LLMSERVICE_ALLOWED_MEDIA_DOMAINS": "images.example.com",
            "LLMSERVICE_ALLOWED_TRACE_FLAGS": "true",
            "LLMSERVICE_ALLOWED_DEVICE_CLASSES": "gpu.nvidia.com,mig.nvidia.com",
            "LLMSERVICE_ALLOWED_DEVICE_SELECTORS": "true",
        }
    ).platform.allowed
    assert allowed.service_accounts == ("team-a/reader", "team-b/reader")
    assert allowed.media_domains == ("images.example.com",)
    assert allowed.trace_flags
    assert allowed.device_classes == ("gpu.nvidia.com", "mig.nvidia.com") and allowed.device_selectors
    assert from_environment({}).platform.allowed.device_classes is None
    assert not from_environment({}).platform.allowed.device_selectors
    assert from_environment({}).platform.allowed.service_accounts == ()
    assert not from_environment({}).platform.allowed.trace_flags


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LLMSERVICE_ALLOWED_SERVICE_ACCOUNTS", "reader"),
        ("LLMSERVICE_ALLOWED_SERVICE_ACCOUNTS", "*/reader"),
        ("LLMSERVICE_ALLOWED_TRACE_FLAGS", "maybe"),
        ("LLMSERVICE_ALLOWED_DEVICE_CLASSES", "gpu/nvidia"),
        ("LLMSERVICE_ALLOWED_DEVICE_CLASSES", "*,gpu.nvidia.com"),
        ("LLMSERVICE_ALLOWED_EXTRA_ARGS", "--block-size"),
        ("LLMSERVICE_ALLOWED_EXTRA_ARGS", "*,block-size"),
        ("LLMSERVICE_ALLOWED_ENGINE_ENV_EXCEPT", "NCCL DEBUG"),
        ("LLMSERVICE_ALLOWED_SOURCES", "https://hub.example.com"),
        ("LLMSERVICE_ALLOWED_SOURCES", "ftp://hub.example.com/"),
        ("LLMSERVICE_ALLOWED_STORES", "valkey.store"),
        ("LLMSERVICE_ALLOWED_MEDIA_DOMAINS", "169.254.169.254"),
        ("LLMSERVICE_ALLOWED_MEDIA_DOMAINS", "*.example.com"),
        ("LLMSERVICE_ALLOWED_MEDIA_DOMAINS", ",".join(f"a{at}.example" for at in range(33))),
    ],
)
def test_what_authors_may_name_is_checked(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as raised:
        from_environment({name: value})
    assert name in str(raised.value)


def test_a_hub_of_ones_own_has_to_be_listed() -> None:
    assert from_environment({}).platform.allowed.sources == ("hf://", "pvc://", "s3://")
    assert from_environment({}).platform.allowed.stores is None
    listed = {
        "LLMSERVICE_ALLOWED_SOURCES": "hf://,https://HUB.example.com/",
        "LLMSERVICE_ALLOWED_STORES": "Valkey:6379",
    }
    allowed = from_environment(listed).platform.allowed
    assert (allowed.sources, allowed.stores) == (("hf://", "https://hub.example.com/"), ("valkey:6379",))


def test_what_is_added_to_pods_is_read_and_has_the_defaults_of_the_chart() -> None:
    values = yaml.safe_load((ROOT / "charts/llmservice-operator/values.yaml").read_text())
    default = from_environment({}).platform
    given = {name: values["allowed"][name] for name in POD_FIELDS}
    assert from_environment({"LLMSERVICE_ALLOWED_POD": json.dumps(given)}).platform.allowed_pod == default.allowed_pod
    assert (default.pod_labels, default.pod_annotations) == ({}, {})
    allowed = {"podLabels": [], "images": ["registry.example.com/llm/"], "imagesByDigestOnly": True}
    platform = from_environment(
        {
            "LLMSERVICE_ALLOWED_POD": json.dumps(allowed),
            "LLMSERVICE_POD_LABELS": '{"cost-center": "42"}',
            "LLMSERVICE_POD_ANNOTATIONS": '{"example.com/note": "two words"}',
        }
    ).platform
    assert (platform.allowed_pod.labels, platform.allowed_pod.images) == ((), ("registry.example.com/llm/",))
    assert platform.allowed_pod.images_by_digest_only
    assert platform.allowed_pod.annotations == default.allowed_pod.annotations
    assert (platform.pod_labels, platform.pod_annotations) == ({"cost-center": "42"}, {"example.com/note": "two words"})


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("LLMSERVICE_ALLOWED_POD", {"podLabels": ["a b"]}, "podLabels"),
        ("LLMSERVICE_ALLOWED_POD", {"podLabel": []}, "podLabel"),
        ("LLMSERVICE_ALLOWED_POD", {"images": ["registry.example.com"]}, "images"),
        ("LLMSERVICE_ALLOWED_POD", {"images": ["registry"]}, "images"),
        ("LLMSERVICE_ALLOWED_POD", {"images": ["library/runtime"]}, "images"),
        ("LLMSERVICE_ALLOWED_POD", {"images": ["*"]}, "images"),
        ("LLMSERVICE_ALLOWED_POD", {"images": ["registry.example.com/../"]}, "images"),
        ("LLMSERVICE_ALLOWED_POD", {"imagesByDigestOnly": "yes"}, "imagesByDigestOnly"),
        ("LLMSERVICE_ALLOWED_POD", {"imagePullSecrets": ["A"]}, "imagePullSecrets"),
        ("LLMSERVICE_POD_LABELS", {"app.kubernetes.io/name": "a"}, "app.kubernetes.io/name"),
        ("LLMSERVICE_POD_LABELS", {"cost center": "a"}, "cost center"),
        ("LLMSERVICE_POD_LABELS", {"cost-center": "a b"}, "cost-center"),
        ("LLMSERVICE_POD_LABELS", {"cost-center": 42}, "cost-center"),
        ("LLMSERVICE_POD_LABELS", {f"a{at}": "" for at in range(33)}, "at most 32"),
        ("LLMSERVICE_POD_ANNOTATIONS", {"prometheus.io/port": "1"}, "prometheus.io/port"),
        ("LLMSERVICE_POD_ANNOTATIONS", {"a": "\x1b"}, "'a'"),
        ("LLMSERVICE_POD_ANNOTATIONS", [], "JSON object"),
    ],
)
def test_what_is_added_to_pods_is_checked(name: str, value: object, named: str) -> None:
    with pytest.raises(SettingsError) as raised:
        from_environment({name: json.dumps(value)})
    assert name in str(raised.value) and named in str(raised.value)


def test_lists_of_arguments_and_variables_are_read() -> None:
    everything = from_environment({"LLMSERVICE_ALLOWED_EXTRA_ARGS": "*", "LLMSERVICE_ALLOWED_ENGINE_ENV": "*"})
    assert everything.platform.allowed == from_environment({}).platform.allowed
    allowed = from_environment(
        {
            "LLMSERVICE_ALLOWED_EXTRA_ARGS": "block-size, enable-dbo",
            "LLMSERVICE_ALLOWED_EXTRA_ARGS_EXCEPT": "enable-dbo",
            "LLMSERVICE_ALLOWED_ENGINE_ENV": "none",
            "LLMSERVICE_ALLOWED_ENGINE_ENV_EXCEPT": "NCCL_DEBUG",
        }
    ).platform.allowed
    assert (allowed.extra_args, allowed.extra_args_except) == (("block-size", "enable-dbo"), ("enable-dbo",))
    assert (allowed.engine_env, allowed.engine_env_except) == (("none",), ("NCCL_DEBUG",))
