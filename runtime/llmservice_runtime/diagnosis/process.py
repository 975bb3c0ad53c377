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


RULES = (
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
        causes.STORE_REFUSED,
        r"ClientError: An error occurred \((?P<code>\w+)\)|(?P<kind>NoCredentialsError|EndpointConnectionError)"
        r"|Could not .{1,40} libstreamer due to: (?P<why>.{1,120})",
        "S3 does not give the model: {code}{kind}{why}.",
        Advice(
            "Check bucket and path in spec.model.source, and AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and "
            "AWS_ENDPOINT_URL in the Secret of spec.model.credentialsRef.",
            SOURCE,
        ),
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
            "Check the address in spec.model.source, network policies and the proxy; or serve the model from a pvc://.",
            SOURCE,
        ),
        "the hub is there and answers with an error",
    ),
    Rule(
        causes.DISK_FULL,
        r"\[Errno 28\]|No space left on device",
        "A volume is full.",
        Advice(
            "Give what the engine downloads and compiles a disk of its own, or a larger one, by spec.cache.size; or "
            "the model's claim more room.",
            "spec.cache.size",
        ),
    ),
    Rule(
        causes.NO_PERMISSION,
        r"\[Errno (?:13|30)\] [^:]+: '?(?P<path>[^']+)|PermissionError at (?P<file>\S+)",
        "The engine may not read or write {path}{file}.",
        Advice("Let its user (65532, or group 65532) read the model's files; it writes to its cache volume alone."),
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
