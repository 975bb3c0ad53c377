"""The dashboard Resource Utilization: GPUs, KV cache, CPU, memory and network of the engines' pods."""

from __future__ import annotations

from insight.panel import NAMESPACE, SERVICE_NAME, Dashboard, Panel, Query, Row
from insight.queries import INTERVAL, PODS, by_service, of_pods

OF_POD = "{{namespace}}/{{pod}}"
OF_GPU = f"{OF_POD} GPU {{{{gpu}}}}"
DCGM = "From dcgm-exporter with the pods of GPUs (Kubernetes mode)."
KUBELET = "From the kubelet (cAdvisor)."


def rate_of_pods(name: str, *matchers: str) -> str:
    """Rate of a counter of the kubelet by pod."""
    return f"sum by (namespace, pod) (rate({name}{{{', '.join((PODS, *matchers))}}}[{INTERVAL}]))"


def of_gpus(title: str, unit: str, description: str, metric: str, maximum: float | None = None) -> Panel:
    """A value of each GPU, as dcgm-exporter measures it."""
    queries = [Query(of_pods(metric, "gpu"), OF_GPU)]
    return Panel(title, unit, f"{description} {DCGM}", queries, maximum=maximum)


USED, TOTAL = f"llm_gpu_memory_usage_bytes{{{PODS}}}", f"llm_gpu_memory_total_bytes{{{PODS}}}"

DASHBOARD = Dashboard(
    "resource-utilization",
    "Resource Utilization",
    "GPU memory and use, KV cache, and CPU, memory and network of the engines' pods.",
    [NAMESPACE, SERVICE_NAME],
    [
        Row(
            "GPUs",
            [
                Panel(
                    "GPU memory in use",
                    "percentunit",
                    "Share of each GPU's memory that is in use, as NVML reports it to the runtime. vLLM takes spec.engine.gpuMemoryUtilization of it at its start, so it stays nearly constant.",
                    [Query(f"{USED} / {TOTAL}", OF_GPU)],
                    maximum=1,
                ),
                Panel(
                    "GPU memory",
                    "bytes",
                    "Bytes in use on each GPU of a pod, and all that it has.",
                    [Query(USED, OF_GPU), Query(TOTAL, f"{OF_GPU} total")],
                ),
                Panel(
                    "KV cache in use",
                    "percentunit",
                    "Share of the KV cache that holds tokens of requests. Near 1 sequences are preempted: add replicas, or give the cache more memory.",
                    [Query(by_service(f"vllm:kv_cache_usage_perc{{{PODS}}}", "pod", how="max"), OF_POD)],
                    maximum=1,
                ),
                of_gpus(
                    "GPU use",
                    "percent",
                    "Percent of the time in which a kernel ran on the GPU.",
                    "DCGM_FI_DEV_GPU_UTIL",
                    maximum=100,
                ),
                of_gpus(
                    "Tensor cores active",
                    "percentunit",
                    "Share of cycles in which tensor cores worked: how well the engine uses what the GPU has.",
                    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
                    maximum=1,
                ),
                of_gpus(
                    "GPU memory bandwidth",
                    "percentunit",
                    "Share of cycles in which the GPU's memory was read or written; generating is bound by it.",
                    "DCGM_FI_PROF_DRAM_ACTIVE",
                    maximum=1,
                ),
                of_gpus(
                    "Power",
                    "watt",
                    "Power of each GPU.",
                    "DCGM_FI_DEV_POWER_USAGE",
                ),
                of_gpus(
                    "Temperature",
                    "celsius",
                    "Temperature of each GPU.",
                    "DCGM_FI_DEV_GPU_TEMP",
                ),
                of_gpus(
                    "GPU errors",
                    "short",
                    "Number of the last XID error of a GPU; 0: none. docs/operations/GPUFault.md says what follows.",
                    "DCGM_FI_DEV_XID_ERRORS",
                ),
            ],
        ),
        Row(
            "CPU, memory and network",
            [
                Panel(
                    "CPU",
                    "short",
                    f"Cores that each pod uses. {KUBELET}",
                    [Query(rate_of_pods("container_cpu_usage_seconds_total", 'container!=""'), OF_POD)],
                ),
                Panel(
                    "CPU of the HTTP server",
                    "short",
                    "Cores that vLLM's HTTP server uses. It is one process: near 1 it limits the requests per second of a replica.",
                    [Query(by_service(f"rate(process_cpu_seconds_total{{{PODS}}}[{INTERVAL}])", "pod"), OF_POD)],
                ),
                Panel(
                    "Memory",
                    "bytes",
                    f"Working set of each pod, which the kubelet compares with the limit. {KUBELET}",
                    [
                        Query(
                            f'sum by (namespace, pod) (container_memory_working_set_bytes{{{PODS}, container!=""}})',
                            OF_POD,
                        )
                    ],
                ),
                Panel(
                    "Network received",
                    "Bps",
                    f"Bytes that each pod receives per second: models while it starts, then requests. {KUBELET}",
                    [Query(rate_of_pods("container_network_receive_bytes_total"), OF_POD)],
                    width=12,
                ),
                Panel(
                    "Network sent",
                    "Bps",
                    f"Bytes that each pod sends per second. {KUBELET}",
                    [Query(rate_of_pods("container_network_transmit_bytes_total"), OF_POD)],
                    width=12,
                ),
            ],
        ),
    ],
)
