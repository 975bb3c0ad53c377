"""What refuses pods before they are there."""

from builders.causes.scenes import Row, refused

QUOTA = 'pods "chat-0" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=2, used: '

ADMISSION: dict[str, Row] = {
    "a quota": (
        refused(QUOTA + "requests.nvidia.com/gpu=4, limited: requests.nvidia.com/gpu=4"),
        "QuotaExceeded",
        "Certain",
        "spec.replicas",
        "requested requests.nvidia.com/gpu=2, used requests.nvidia.com/gpu=4, limited to requests.nvidia.com/gpu=4",
    ),
    "a quota that wants more said": (
        refused('pods "chat-0" is forbidden: failed quota: q: must specify limits.cpu for: engine'),
        "QuotaExceeded",
        "Certain",
        "spec.resources.cpuLimit",
        "limits.cpu for: engine",
    ),
    "a limit range": (
        refused('pods "chat-0" is forbidden: maximum memory usage per Container is 4Gi, but limit is 16Gi'),
        "LimitExceeded",
        "Certain",
        "spec.resources.memory",
        "4Gi, but limit is 16Gi",
    ),
    "several limits": (
        refused(
            'pods "chat-0" is forbidden: [maximum cpu usage per Pod is 2, but limit is 4, maximum memory usage per Pod '
            "is 1Gi, but limit is 2Gi]"
        ),
        "LimitExceeded",
        "Certain",
        "spec.resources.cpuLimit",
        "usage per Pod is 2",
    ),
    "pod security": (
        refused('pods "chat-0" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'),
        "PodSecurityDenied",
        "Certain",
        None,
        "restricted:latest",
    ),
    "a webhook": (
        refused('admission webhook "policy.example.com" denied the request: no cost centre'),
        "AdmissionDenied",
        "Certain",
        None,
        "policy.example.com rejects it: no cost centre",
    ),
    "a webhook that is gone": (
        refused('Internal error occurred: failed calling webhook "policy.example.com": no endpoints available'),
        "AdmissionUnavailable",
        "Certain",
        None,
        "no endpoints available",
    ),
    "a policy": (
        refused("pods \"chat-0\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"),
        "AdmissionDenied",
        "Certain",
        None,
        "policy p rejects it: no",
    ),
    "a class of priority that is missing": (
        refused('pods "chat-0" is forbidden: no PriorityClass with name gold was found'),
        "PriorityClassMissing",
        "Certain",
        "spec.scheduling.priorityClassName",
        "gold",
    ),
    "an unknown error": (refused("teapot"), "PodsRefused", "Certain", None, "teapot"),
}
