"""What a pod lacks before its engine starts: volumes, images, Secrets."""

from builders.causes.scenes import Row, not_mounted, not_pulled, with_pods
from builders.pods import a_pod

PROVISIONS: dict[str, Row] = {
    # volumes
    "a claim that is missing": (
        with_pods(a_pod().claiming("m").unschedulable('persistentvolumeclaim "m" not found')),
        "ClaimMissing",
        "Certain",
        "spec.model.source",
        "m does not exist in namespace team-a",
    ),
    "a claim of a class that is missing": (
        with_pods(a_pod().claiming("m").unschedulable("pod has unbound immediate PersistentVolumeClaims")).reporting(
            "PersistentVolumeClaim", "m", "ProvisioningFailed", 'storageclass "fast" not found'
        ),
        "ClaimUnbound",
        "Certain",
        None,
        'm: storageclass "fast" not found',
    ),
    "a volume elsewhere": (
        with_pods(a_pod().claiming("m").unschedulable("1 node(s) had volume node affinity conflict")),
        "VolumeElsewhere",
        "Certain",
        "spec.scheduling.nodeSelector",
        "can't be mounted on a node that has room",
    ),
    "a volume that another pod uses": (
        with_pods(
            a_pod()
            .claiming("m")
            .unschedulable(
                "0/1 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and "
                "ReadWriteOncePod access mode"
            )
        ),
        "VolumeInUse",
        "Certain",
        "spec.model.source",
        "one pod at a time can mount it",
    ),
    "a volume that can't be mounted": (
        not_mounted('MountVolume.SetUp failed for volume "m" : mount failed: exit status 32'),
        "VolumeMountFailed",
        "Certain",
        None,
        "exit status 32",
    ),
    "no network": (
        with_pods(a_pod().waiting("ContainerCreating")).reporting(
            "Pod", "chat-0", "FailedCreatePodSandBox", "plugin type bridge failed"
        ),
        "SandboxFailed",
        "Certain",
        None,
        "plugin type bridge failed",
    ),
    "devices that the driver can't prepare": (
        with_pods(a_pod().waiting("ContainerCreating")).reporting(
            "Pod", "chat-0", "FailedPrepareDynamicResources", "Failed to prepare dynamic resources: empty device edits"
        ),
        "DevicePreparationFailed",
        "Certain",
        None,
        "empty device edits",
    ),
    # images
    "an image that is not there": (
        not_pulled('failed to resolve reference "r/x:1": r/x:1: not found'),
        "ImageNotFound",
        "Certain",
        None,
        "runtime.images",
    ),
    "an image for a login": (
        not_pulled("failed to authorize: unexpected status: 401 Unauthorized"),
        "ImageDenied",
        "Certain",
        None,
        "runtime.pullSecrets",
    ),
    "an image that is not there, or for a login": (
        not_pulled("pull access denied, repository does not exist or may require authorization"),
        "ImageDenied",
        "Likely",
        None,
        "the registry has no image with that name",
    ),
    "an image for another processor": (
        not_pulled("failed to unpack image: no match for platform in manifest sha256:0: not found"),
        "ImageWrongPlatform",
        "Certain",
        None,
        "kubernetes.io/arch",
    ),
    "programs for another processor": (
        with_pods(a_pod().ended(255, "exec /opt/python: exec format error")),
        "ImageWrongPlatform",
        "Certain",
        None,
        "exec format error",
    ),
    "a registry that is down": (
        not_pulled("dial tcp 10.0.0.1:443: connect: connection refused", "ImagePullBackOff"),
        "RegistryUnreachable",
        "Certain",
        None,
        "connection refused",
    ),
    "a registry that has no room for the login": (
        not_pulled("failed to authorize: failed to fetch oauth token: unexpected status: 503 Service Unavailable"),
        "RegistryUnreachable",
        "Certain",
        None,
        "503",
    ),
    "a registry's token server that can't be reached": (
        not_pulled("failed to authorize: failed to fetch anonymous token: net/http: TLS handshake timeout"),
        "RegistryUnreachable",
        "Certain",
        None,
        "TLS handshake timeout",
    ),
    "a registry that limits the rate of pulls": (
        not_pulled("unexpected status code https://r/v2/x/1: 429 Too Many Requests - Server message: toomanyrequests"),
        "RegistryRateLimited",
        "Certain",
        None,
        "runtime.pullSecrets",
    ),
    "a registry that limits the rate of logins": (
        not_pulled("failed to authorize: failed to fetch anonymous token: unexpected status: 429 Too Many Requests"),
        "RegistryRateLimited",
        "Certain",
        None,
        "429",
    ),
    "a kubelet that limits the rate of pulls": (
        not_pulled("pull QPS exceeded"),
        "RegistryRateLimited",
        "Certain",
        None,
        "pull QPS exceeded",
    ),
    "an image of that name that is not there": (
        not_pulled('failed to resolve reference "r/ratelimit-500:429": r/ratelimit-500:429: not found'),
        "ImageNotFound",
        "Certain",
        None,
        "runtime.images",
    ),
    "a name that is none": (
        not_pulled("couldn't parse image name", "InvalidImageName"),
        "ImageNameInvalid",
        "Certain",
        None,
        "runtime.images",
    ),
    "an image that was never brought": (
        not_pulled('image "x" is not present with pull policy of Never', "ErrImageNeverPull"),
        "ImageNeverPulled",
        "Certain",
        None,
        "runtime.pullPolicy",
    ),
    "a node's full disk": (
        not_pulled("write /var/lib/containerd: no space left on device"),
        "NodeDiskFull",
        "Certain",
        None,
        "no space left",
    ),
    "an image that can't be pulled for another reason": (not_pulled("teapot"), "ImagePull", "Certain", None, "teapot"),
    # Secrets
    "a Secret that is missing": (
        with_pods(a_pod().waiting("CreateContainerConfigError", 'secret "hf-token" not found')),
        "SecretMissing",
        "Certain",
        "spec.model.credentialsRef",
        "Create Secret hf-token",
    ),
    "a key that is missing": (
        with_pods(
            a_pod().waiting("CreateContainerConfigError", "couldn't find key HF_TOKEN in Secret team-a/hf-token")
        ),
        "SecretKeyMissing",
        "Certain",
        "spec.model.credentialsRef",
        "Add key HF_TOKEN to Secret hf-token",
    ),
}
