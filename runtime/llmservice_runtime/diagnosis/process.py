"""Rules for the engine's environment (hub, S3, disk, port, time), and for exits of which only the code is known."""

from __future__ import annotations

from llmservice_contract import causes
from llmservice_runtime.diagnosis.model import CREDENTIALS, SOURCE
from llmservice_runtime.diagnosis.rule import Advice, Found, Rule

TOKEN = Advice(
    "Accept the model's licence on the hub, and put a token of that account as HF_TOKEN into the Secret of "
    "spec.model.credentialsRef.",
    CREDENTIALS,
)
NO_SUCH = Advice(
    "Check the name in spec.model.source; for a private one, put a token that may read it as HF_TOKEN into the Secret "
    "of spec.model.credentialsRef.",
    SOURCE,
)
UNAVAILABLE = Advice(
    "The kubelet starts the engine again automatically. If it does not pass: check the address in spec.model.source, "
    "network policies and the chart value runtime.proxy; or serve the model from a pvc://.",
    SOURCE,
)
BY_HAND = "it was ended manually"
SIGNALS = {
    "4": "it met an instruction that this CPU doesn't have: choose newer nodes by spec.scheduling.nodeSelector",
    "7": "it got no more shared memory, or its memory is broken: raise spec.resources.memory",
    "9": "it was killed, mostly for memory: raise spec.resources.memory, or lower the engine's cache",
    "11": "it reached for memory that isn't its own, an error of vLLM or a broken node: report it if it comes again",
}


def _by_signal(found: Found) -> Advice:
    number = (found.groups["code"] or found.groups["other"]).removeprefix("-")
    fix = SIGNALS.get(
        number,
        "see `kubectl logs POD --previous`; where that says nothing, it was killed, mostly "
        "for memory: raise spec.resources.memory",
    )
    return Advice(fix[0].upper() + fix[1:] + ".", "spec.resources.memory" if number in ("7", "9") else "")


_STEP_TIMEOUT = "spec.engine.stepTimeoutSeconds"


def _of_hang(found: Found) -> Advice:
    if found.groups["detail"] == "its processes compute":
        return Advice(
            f"If its steps take so long, raise {_STEP_TIMEOUT} or lower spec.engine.maxNumBatchedTokens; otherwise it "
            "is a bug of vLLM, of its kernels or of the GPUs' connection: report it with the log.",
            _STEP_TIMEOUT,
        )
    return Advice(
        "The container was restarted. If it occurs again, drain the node and check its GPUs and driver; otherwise it "
        "is a bug of vLLM: report it with the log."
    )


RULES = (
    Rule(
        causes.ENGINE_HUNG,
        r"^llmservice: the engine hangs: no step of the engine for (?P<seconds>\d+) s \(limit (?P<limitSeconds>\d+) s\)"
        r": (?P<detail>[a-zA-Z ]{1,80}); (?P<requests>\d+) requests? waits?",
        "The engine made no step for {seconds} s (limit {limitSeconds} s) and was ended: {detail}; requests that "
        "waited: {requests}.",
        _of_hang,
    ),
    Rule(
        causes.HUB_REFUSED,
        r"You are trying to access a gated repo|is a gated repository|GatedRepoError|Access to model \S+ is restricted",
        "The hub doesn't give {model} to this token: it is gated, and the licence has not been accepted, or no token "
        "is given.",
        TOKEN,
    ),
    Rule(
        causes.HUB_REFUSED,
        r" is not a local folder (?:and is not a valid model identifier|or a valid repository name)"
        r"|RepositoryNotFoundError",
        "The hub knows no repository {model}.",
        NO_SUCH,
        "it is private, and this token may not see it",
    ),
    Rule(
        causes.HUB_REFUSED,
        r" is not a valid git identifier|RevisionNotFoundError",
        "The repository {model} has no revision {revision}.",
        Advice("Set spec.model.revision to a commit, tag or branch of the repository.", "spec.model.revision"),
    ),
    Rule(
        causes.HUB_REFUSED,
        r"^(?:\w+\.)*\w*Error: .*(?:(?P<status>401|403) Client Error|Client error '(?P<other>401|403) )",
        "The hub answers {status}{other}: the token isn't valid, or may not read {model}.",
        TOKEN,
    ),
    Rule(
        causes.HUB_UNREACHABLE,
        r"^(?:\w+\.)*\w*(?:Error|Exception): .*(?:(?P<status>408|425|429|5\d\d) (?:Client|Server) Error"
        r"|(?:Client|Server) error '(?P<other>408|425|429|5\d\d) )",
        "The hub answers {status}{other}: it is overloaded or has trouble of its own.",
        UNAVAILABLE,
    ),
    Rule(
        causes.STORE_UNREACHABLE,
        r"ClientError: An error occurred \((?P<code>SlowDown|ServiceUnavailable|InternalError|RequestTimeout"
        r"|Throttling\w*|TooManyRequests\w*|RequestLimitExceeded|BandwidthLimitExceeded|429|5\d\d)\)"
        r"|(?P<kind>EndpointConnectionError|ConnectTimeoutError|ReadTimeoutError|ConnectionClosedError"
        r"|ResponseStreamingError): |Could not .{1,40} libstreamer due to: (?P<why>.{0,60}(?i:timed? ?out|slow ?down|"
        r"service ?unavailable|connection (?:reset|refused)|could ?n[o']t (?:connect|resolve)).{0,60})",
        "S3 does not answer or is overloaded: {code}{kind}{why}.",
        Advice(
            "The kubelet starts the engine again automatically. If it does not pass: check AWS_ENDPOINT_URL and "
            "AWS_REGION in the Secret of spec.model.credentialsRef, and that pods reach the store.",
            CREDENTIALS,
        ),
    ),
    Rule(
        causes.STORE_REFUSED,
        r"ClientError: An error occurred \((?P<code>\w+)\)|(?P<kind>NoCredentialsError)"
        r"|Could not .{1,40} libstreamer due to: (?P<why>.{1,120})",
        "S3 does not give the model: {code}{kind}{why}.",
        Advice(
            "Check bucket and path in spec.model.source, and AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and "
            "AWS_ENDPOINT_URL in the Secret of spec.model.credentialsRef, or the role of spec.serviceAccountName.",
            SOURCE,
        ),
    ),
    Rule(
        causes.DISK_FULL,
        r"/dev/shm/[^\n]{0,160}No space left on device|unable to write to file </torch_"  # noqa: S108
        r"|No space left on device: '/(?:psm|mp)[-_]|insufficient shared memory",
        "/dev/shm is full.",  # noqa: S108
        Advice(
            "Set spec.resources.sharedMemory to more than the default of 1Gi per device, at least 2Gi.",
            "spec.resources.sharedMemory",
        ),
    ),
    Rule(
        causes.RANKS_LOST,
        r"ibv_(?:reg_mr|reg_mr_iova2|reg_dmabuf_mr|create_cq)\b[^\n]{0,80}Cannot allocate memory",
        "Memory can't be pinned for RDMA.",
        Advice(
            "Raise the limit of locked memory (ulimit -l) on the nodes: LimitMEMLOCK=infinity in the systemd unit of "
            "the container runtime."
        ),
        "the network device has no memory left for more connections",
    ),
    Rule(
        causes.READY_TIMEOUT,
        r"Timed out waiting for engine core processes to start\.(?:.*Waited (?P<seconds>\d+) ?s)?",
        "The engine's processes were not ready within {seconds} s.",
        Advice("State the size of the weights in spec.model.size: the budget follows from it.", "spec.model.size"),
    ),
    Rule(
        causes.PORT_IN_USE,
        r"^OSError: \[Errno 98\] .*[Aa]ddress already in use",
        "A port of the engine is taken by another process of the pod.",
        Advice("Look for a sidecar that listens on port 8000 or 8002, which the engine needs."),
    ),
    Rule(
        causes.WRONG_ENGINE,
        r"error: (?:unrecognized arguments: (?P<unknown>.+)|argument (?P<wrong>.+))",
        "The vLLM of this image doesn't take the argument {unknown}{wrong}.",
        Advice("Use an image of the runtime that goes with this version of the operator: its vLLM is another one."),
    ),
)

GENERAL_RULES = (
    Rule(
        causes.HUB_UNREACHABLE,
        r"^(?:\w+\.)*\w*(?:Error|Exception): .*(?:We couldn't connect to '(?P<hub>[^']+)'"
        r"|Cannot find the requested files in the local cache|outgoing traffic has been disabled)"
        r"|LocalEntryNotFoundError",
        "The hub {hub} can't be reached, and the model isn't in the cache.",
        Advice(
            "Check the address in spec.model.source, network policies and the chart value runtime.proxy; or serve the "
            "model from a pvc://.",
            SOURCE,
        ),
        "the hub is there and answers with an error",
    ),
    Rule(
        causes.DISK_FULL,
        r"\[Errno 28\]|(?i:No space left on device)",
        "A volume is full.",
        Advice(
            "Give what the engine downloads and compiles a disk of its own, or a larger one, by spec.cache.size; or "
            "the model's claim more room.",
            "spec.cache.size",
        ),
    ),
    Rule(
        causes.HUB_UNREACHABLE,
        r"^(?:httpx2?|httpcore2?)\.(?:_exceptions\.)?(?P<kind>\w+)(?:: (?P<what>.{1,160}))?"
        r"|^(?:RuntimeError|(?:\w+\.)*XetDownloadError): (?P<xet>.{0,40}(?i:CAS (?:service|client) error"
        r"|data processing error).{0,160})",
        "A download from the hub broke off: {kind}{xet} {what}",
        UNAVAILABLE,
    ),
    Rule(
        causes.NO_PERMISSION,
        r"\[Errno (?:13|30)\] [^:]+: '?(?P<path>[^']+)|PermissionError at (?P<file>\S+)",
        "The engine may not read or write {path}{file}.",
        Advice(
            "Let its user or group (65532; on OpenShift those of the namespace) read the model's files; it writes to "
            "its cache volume alone."
        ),
    ),
    Rule(
        causes.RANKS_APART,
        r"(?P<what>Timed out after \d+ seconds waiting for clients\.? ?(?:\d+/\d+ clients joined)?"
        r"|The client socket has (?:failed|timed out)[^\n]{0,120}|[Gg]loo connectFullMesh failed[^\n]{0,120})",
        "The ranks of the replica did not find each other: {what}.",
        Advice(
            "Let the pods of one replica reach each other on all ports (network policies, the nodes' firewalls), by "
            "the name of rank 0."
        ),
        "one of them did not start: see its log",
    ),
    Rule(
        causes.RANKS_LOST,
        r"(?:NCCL|RCCL) error|ncclSystemError|ncclInternalError|ncclRemoteError|ncclUnhandledCudaError"
        r"|Connection closed by peer|Watchdog caught collective operation timeout",
        "The GPUs of the replica lost each other.",
        Advice(
            "Look for the first failing rank in the log. If none fails by itself: GPU interconnect, the driver, and "
            "/dev/shm on the node."
        ),
        "one of them failed first: see its log",
    ),
)

NAMED = (
    Rule(
        causes.ENGINE_DIED,
        r"Worker proc (?P<name>\S+) died unexpectedly \(exit code: (?P<code>-?\d+|None)\)"
        r"|Failed core proc\(s\): \{'(?P<core>[^']+)': (?P<other>-\d+)",
        "The engine's process {name}{core} ended without a word (exit code {code}{other}).",
        _by_signal,
        BY_HAND,
    ),
)

LAST_SIGHT = (
    Rule(
        causes.ENGINE_DIED,
        r"[Ee]ngine core \S*\s?\S*\s?(?:died|exited) unexpectedly|EngineCore encountered an issue|EngineDeadError",
        "The engine's process ended without a word.",
        Advice(
            "See `kubectl logs POD --previous`; if that shows no error, it was killed, mostly for memory: "
            "raise spec.resources.memory."
        ),
        BY_HAND,
    ),
)
