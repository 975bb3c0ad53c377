"""Constants of the engine container that operator and runtime share."""

from __future__ import annotations

ENGINE_CONTAINER = "engine"
HTTP_PORT_NAME = "http"
HTTP_PORT = 8000
METRICS_PORT_NAME = "metrics"
METRICS_PORT = 8002
"""Port on which rank 0 serves only METRICS_PATH."""
METRICS_PATH = "/metrics"
PROBE_PORT_NAME = "probe"
PROBE_PORT = 8001
"""Port on which a rank of a multi-node replica answers probes, even while its engine restarts."""
GROUP_PORT = 29500
"""Port on which rank 0 of a multi-node replica waits for the others."""
MASTER_PORT = 29501
"""Port on rank 0 for vLLM's communication between ranks."""
HEALTH_PATH = "/health"
READY_PATH = "/ready"
"""Returns 200 if new requests are accepted, otherwise 503 with the reason."""
DRAIN_PATH = "/drain"
"""POST from inside the container: stops new requests, and responds after the last one has finished."""
MODELS_PATH = "/models"
"""Mount path of a volume claim with models, read-only."""

TERMINATION_LOG = "/dev/termination-log"
TERMINATION_LOG_VARIABLE = "TERMINATION_LOG"
"""Variable with another path than TERMINATION_LOG, for runs outside a container."""
TERMINATION_MESSAGE_BYTES = 4096
"""Maximum length of a termination message in the kubelet."""

EXIT_WRONG_SETTINGS = 78
"""The environment or the model is contradictory: a restart can't help, and the message says what to change."""
EXIT_NO_ENGINE = 69
"""vLLM is not installed in the image, or is not the build for this accelerator."""
EXIT_NO_MODEL = 66
"""The model could not be read; the termination message says why."""

CPU_STANDS_IN_VARIABLE = "LLMSERVICE_CPU_STANDS_IN"
"""Set only in the CPU emulation image: "1" lets a CPU run settings that are meant for a GPU."""

CREDENTIAL_VARIABLES = (
    "HF_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
)
"""Keys of a credentials Secret that reach the engine, under the same names. No other key does."""

TOKEN_ENDPOINT_VARIABLE = "HF_TOKEN_ENDPOINT"
"""The key HF_ENDPOINT of a credentials Secret: the hub that may receive its HF_TOKEN. Absent: the Hugging Face hub."""

SERVE_ARGUMENTS = ("python", "-m", "llmservice_runtime", "serve")
DRAIN_ARGUMENTS = ("python", "-m", "llmservice_runtime", "drain")
"""The preStop hook. It exits once the engine may be stopped, always with exit code 0."""
INSPECT_ARGUMENTS = ("python", "-m", "llmservice_runtime", "inspect")

ACCESS_PATH = "/access"
ACCESS_FILE = "access.json"
"""The access policy in ACCESS_PATH, where a ConfigMap is mounted."""
ADAPTERS_PATH = "/adapters"
ADAPTERS_FILE = "adapters.json"
"""The list of LoRA adapters in ADAPTERS_PATH, where a ConfigMap is mounted. Also the path of the metrics port that
reports their state."""
KEYS_PATH = "/keys"
"""Mount path of the Secret with the API keys; an empty directory if the Secret does not exist."""
GROUP_SECRET_PATH = "/group-secret"
"""Mount path of the Secret that the ranks of one replica share."""
GROUP_SECRET_KEY = "group-secret"
"""The key in that Secret, and the name of the file."""
CHAT_TEMPLATE_PATH = "/chat-template"
CHAT_TEMPLATE_FILE = "chat-template.jinja"
"""The chat template in CHAT_TEMPLATE_PATH, where the key of the user's ConfigMap is mounted."""
PLATFORM_CA_PATH = "/platform-ca"
PLATFORM_CA_FILE = "ca.crt"
"""The platform's private CAs in PLATFORM_CA_PATH, where a ConfigMap is mounted."""
PLATFORM_CA_VARIABLE = "PLATFORM_CA"
"""Variable with the path of that file. Absent: only public CAs are trusted."""
STORE_PATH = "/store-credentials"
"""Mount path of the Secret with the login of the shared store."""
