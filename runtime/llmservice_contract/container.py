"""Constants of the engine container that both sides rely on."""

from __future__ import annotations

ENGINE_CONTAINER = "engine"
HTTP_PORT_NAME = "http"
HTTP_PORT = 8000
METRICS_PORT_NAME = "metrics"
METRICS_PORT = 8002
"""Where rank 0 serves METRICS_PATH and nothing else."""
METRICS_PATH = "/metrics"
PROBE_PORT_NAME = "probe"
PROBE_PORT = 8001
"""Where a rank of a replica on several nodes answers probes, also while its engine is started again."""
GROUP_PORT = 29500
"""Where rank 0 of a replica on several nodes awaits the others."""
MASTER_PORT = 29501
"""Where vLLM's own ranks meet, on rank 0."""
HEALTH_PATH = "/health"
READY_PATH = "/ready"
"""200 while new requests should come here, else 503 with the reason."""
DRAIN_PATH = "/drain"
"""POST from inside the container: no new work, and an answer once nothing is left to do."""
MODELS_PATH = "/models"
"""Where a volume claim with models is mounted, read-only."""

TERMINATION_LOG = "/dev/termination-log"
TERMINATION_LOG_VARIABLE = "TERMINATION_LOG"
"""Names another file than TERMINATION_LOG; for runs outside a container."""
TERMINATION_MESSAGE_BYTES = 4096
"""What the kubelet keeps of a termination message."""

EXIT_WRONG_SETTINGS = 78
"""The environment or the model contradicts itself: a restart cannot help, the message says what to change."""
EXIT_NO_ENGINE = 69
"""vLLM is not installed in the image, or not the one for this accelerator."""
EXIT_NO_MODEL = 66
"""The model could not be read; the termination message says why."""

CPU_STANDS_IN_VARIABLE = "LLMSERVICE_CPU_STANDS_IN"
"""Set in the CPU emulation image alone: "1" lets a CPU serve what was meant for a GPU."""

CREDENTIAL_VARIABLES = (
    "HF_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
)
"""Keys of a credentials Secret that reach the engine, under the same names; no other key does."""

TOKEN_ENDPOINT_VARIABLE = "HF_TOKEN_ENDPOINT"
"""Of the key HF_ENDPOINT in a credentials Secret: the hub that its HF_TOKEN is for. Absent: the Hugging Face hub."""

SERVE_ARGUMENTS = ("python", "-m", "llmservice_runtime", "serve")
DRAIN_ARGUMENTS = ("python", "-m", "llmservice_runtime", "drain")
"""What a preStop hook runs; it ends once the engine may be stopped, always with exit code 0."""
INSPECT_ARGUMENTS = ("python", "-m", "llmservice_runtime", "inspect")

ACCESS_PATH = "/access"
ACCESS_FILE = "access.json"
"""The access policy below ACCESS_PATH, where a ConfigMap is mounted."""
KEYS_PATH = "/keys"
"""Where the Secret with the API keys is mounted; empty while there is none of that name."""
GROUP_SECRET_PATH = "/group-secret"
"""Where the Secret of the ranks of one replica is mounted."""
GROUP_SECRET_KEY = "group-secret"
"""The key in that Secret, and the file's name."""
STORE_PATH = "/store-credentials"
"""Where the Secret with the shared store's login is mounted."""
