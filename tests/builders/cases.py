"""Services whose rendered children are kept as golden files, by the name of the file."""

from builders.services import ServiceBuilder, a_service

H100 = "NVIDIA-H100-80GB-HBM3"


def _chat() -> ServiceBuilder:
    return a_service("chat", "team-a", uid="5a4b7c1e-0000-4000-8000-000000000001")


CASES: dict[str, ServiceBuilder] = {
    "five-lines": _chat(),
    "two-gpus": _chat().from_source("hf://Qwen/Qwen3-32B").spread_over(tensor=2).on(H100).with_replicas(3),
    "eight-gpus-pipeline": _chat().from_source("pvc://models/llama-405b").spread_over(tensor=4, pipeline=2),
    "two-nodes": _chat().from_source("pvc://models/llama-405b").spread_over(tensor=8, pipeline=2, nodes=2),
    "four-nodes": _chat()
    .with_spec(
        parallelism={"tensor": 16, "pipeline": 2, "nodesPerReplica": 4, "secretRef": {"name": "chat-group"}},
        accelerator={"products": [H100]},
        scheduling={"groupWithin": "example.com/block"},
        cache={"size": "1Ti"},
    )
    .with_keys(),
    "amd": _chat()
    .from_source("hf://mistralai/Mixtral-8x7B-Instruct-v0.1")
    .with_spec(accelerator={"type": "amd", "products": ["AMD-Instinct-MI300X-OAM"]}),
    "cpu": _chat().on_cpu().with_spec(engine={"kvCacheMemory": "4Gi"}, parallelism={"tensor": 2}),
    "mig": _chat().with_spec(accelerator={"resourceName": "nvidia.com/mig-3g.40gb"}),
    "device-class": _chat().with_spec(accelerator={"deviceClassName": "gpu.nvidia.com"}),
    "quantized": _chat()
    .from_source("hf://meta-llama/Llama-3.1-8B-Instruct", revision="0e9e39f249a16976918f6564b8830bc894c89659")
    .with_spec(quantization={"method": "fp8", "kvCacheDtype": "fp8"}),
    "hub-with-token": _chat()
    .from_source("hf://meta-llama/Llama-3.1-8B-Instruct")
    .with_spec(model={"credentialsRef": {"name": "hf-token"}}),
    "own-hub": _chat().from_source("https://hub.example.com/team/chat-7b", revision="v2"),
    "s3": _chat()
    .from_source("s3://models/chat/v1")
    .with_spec(model={"credentialsRef": {"name": "s3"}, "size": "70Gi"}),
    "adapters": _chat()
    .from_source("hf://Qwen/Qwen3-8B")
    .with_spec(
        engine={"maxLoras": 8, "maxLoraRank": 64},
        adapters=[{"name": "team/legal", "source": "hf://team/legal-lora", "revision": "0123456789" * 4}],
    ),
    "scheduling": _chat().with_spec(
        scheduling={
            "nodeSelector": {"pool": "inference"},
            "tolerations": [
                {"key": "team", "value": "a", "effect": "NoSchedule"},
                {"key": "spot", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
            ],
            "priorityClassName": "serving",
            "runtimeClassName": "nvidia",
            "schedulerName": "packer",
            "spreadOver": "topology.kubernetes.io/zone",
        }
    ),
    "disks": _chat().with_spec(
        cache={"size": "200Gi", "storageClassName": "fast"}, rollout={"strategy": "Surge", "maxUnavailable": 0}
    ),
    "scaled": _chat().with_spec(
        scaling={
            "minReplicas": 0,
            "maxReplicas": 8,
            "targets": {"timeToFirstToken": {"p50": "50ms", "p99": "200ms"}, "requestLatency": {"p99": "2s"}},
            "behavior": {
                "scaleDown": {
                    "stabilizationWindowSeconds": 600,
                    "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
                }
            },
        }
    ),
    "access": _chat().with_keys(
        rateLimits={
            "default": {"requestsPerMinute": 30},
            "tiers": [{"name": "gold", "tokensPerMinute": 5_000_000}],
            "store": {
                "address": "valkey.store:6379",
                "tls": True,
                "credentialsRef": {"name": "store-login"},
                "onFailure": "Closed",
            },
        },
        caps={"bodyBytes": "1Mi", "defaultMaxTokens": 256, "maxTokens": 4096, "deadlineSeconds": 120},
    ),
    "speculative-and-traced": _chat()
    .from_source("hf://meta-llama/Llama-3.1-8B-Instruct")
    .with_spec(
        engine={
            "speculative": {
                "method": "draft",
                "model": "hf://meta-llama/Llama-3.2-1B-Instruct",
                "revision": "9213176726f574b556790deb65791e0c5aa438b6",
                "tokens": 5,
            },
            "chunkedPrefill": True,
            "batchTimeout": "20ms",
        },
        tracing={"endpoint": "http://jaeger-collector.tracing:4317", "samplingPercent": 7},
        shutdown={"drainSeconds": 120, "lameDuckSeconds": 10},
    ),
    "tools-and-reasoning": _chat()
    .on(H100)
    .with_spec(
        model={"format": "hf"},
        parallelism={"tensor": 2, "expertParallel": True},
        engine={
            "toolCallParser": "hermes",
            "reasoningParser": "none",
            "chatTemplate": {"configMapRef": {"name": "templates", "key": "tools.jinja"}},
            "dtype": "bfloat16",
            "loadFormat": "fastsafetensors",
            "seed": 7,
            "multimodalLimits": {"image": 2, "video": 0},
            "structuredOutputsBackend": "xgrammar",
            "kvOffloadMemory": "64Gi",
            "hfOverrides": '{\n  "rope_parameters": {"rope_type": "yarn", "factor": 4.0}\n}\n',
            "speculative": {"method": "mtp", "tokens": 1},
        },
    ),
    "data-parallel": _chat()
    .on(H100)
    .with_spec(parallelism={"tensor": 2, "data": 4}, engine={"kvOffloadMemory": "64Gi"}),
    "embeddings": _chat()
    .on(H100)
    .with_spec(
        engine={
            "runner": "pooling",
            "convert": "embed",
            "chatTemplate": {"builtin": "template_chatml.jinja"},
            "extraArgs": {"pooler-config": '{"pooling_type": "MEAN"}'},
        }
    ),
    "arguments-of-vllm": _chat()
    .on(H100)
    .with_spec(
        engine={
            "extraArgs": {"block-size": 32, "enable-dbo": "true", "mm-processor-kwargs": '{"max_pixels": 1003520}'},
            "env": {"NCCL_IB_HCA": "^mlx5_0:1,mlx5_1", "NCCL_IB_TC": 106},
        }
    ),
    "pod": _chat().with_spec(
        pod={
            "labels": {"sidecar.istio.io/inject": "false", "kueue.x-k8s.io/queue-name": "gpus"},
            "annotations": {"linkerd.io/inject": "disabled"},
        },
    ),
    "everything": _chat()
    .from_source("hf://meta-llama/Llama-3.1-8B-Instruct", revision="0e9e39f249a16976918f6564b8830bc894c89659")
    .on(H100)
    .with_replicas(2)
    .with_spec(
        model={
            "servedNames": ["llama", "llama-3.1-8b"],
            "credentialsRef": {"name": "hf-token"},
            "maxContextLength": 8192,
            "size": "16Gi",
        },
        quantization={"method": "fp8", "kvCacheDtype": "fp8_e4m3"},
        engine={
            "gpuMemoryUtilization": "0.9",
            "maxNumSeqs": 128,
            "maxNumBatchedTokens": 4096,
            "prefixCaching": False,
            "attention": "triton",
        },
        resources={"cpu": "8", "memory": "48Gi", "ephemeralStorage": "100Gi", "sharedMemory": "8Gi"},
    ),
}
