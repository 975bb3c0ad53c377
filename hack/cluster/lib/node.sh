# The node: containerd, kubelet and kube-proxy, as processes of the host, with every file of theirs under $cluster.

start_containerd() {
  cat >"$cluster/containerd.toml" <<T
version = 2
root = "$store"
state = "$cluster/containerd"
[grpc]
  address = "$containerd_socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$addons_image"
  # A negative oom_score_adj needs CAP_SYS_RESOURCE, which many virtual machines withhold.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$cluster/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "$cluster/runc"
T
  start containerd containerd --config "$cluster/containerd.toml"
  await 30 "containerd" ctr version
}

start_kubelet() { # the node's labels, NAME=VALUE,...
  cat >"$cluster/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
containerRuntimeEndpoint: unix://$containerd_socket
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $cluster/pki/ca.crt}}
authorization: {mode: Webhook}
address: "$([ "$families" = ipv4 ] && echo 0.0.0.0 || echo ::)"
clusterDNS: ["$dns_address"]
clusterDomain: cluster.local
maxPods: 250
serializeImagePulls: false
# Images are imported, not pulled: the kubelet must never collect them.
imageGCHighThresholdPercent: 100
evictionHard: {nodefs.available: "1%", imagefs.available: "1%", memory.available: 100Mi}
podLogsDir: $cluster/pod-logs
volumePluginDir: $cluster/volume-plugins
Y
  mkdir -p "$cluster/pod-logs"
  start kubelet "$kubernetes/kubelet" --config="$cluster/kubelet.yaml" --kubeconfig="$cluster/pki/kubelet.kubeconfig" \
    --hostname-override=$node --node-ip=$node_addresses --root-dir="$cluster/kubelet" --cert-dir="$cluster/kubelet/pki"
  start kube-proxy "$kubernetes/kube-proxy" --kubeconfig="$cluster/pki/proxy.kubeconfig" --hostname-override=$node \
    --proxy-mode=iptables --cluster-cidr=$pod_cidr --iptables-localhost-nodeports=false \
    --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0s --conntrack-tcp-timeout-close-wait=0s
  await 60 "node $node to register" kubectl get node $node
}

node_ready() { [ "$(kubectl get node $node -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}')" = True ]; }

# set_gpus NUMBER: as a device plugin and GPU feature discovery would show them, without a GPU.
set_gpus() {
  [[ $1 =~ ^[0-9]{1,4}$ ]] || die "the number of GPUs must be 0 to 9999, not '$1'."
  local labels='{"nvidia.com/gpu.product": null, "nvidia.com/gpu.memory": null, "nvidia.com/gpu.count": null, "nvidia.com/gpu.present": null}'
  if (($1 > 0)); then
    labels='{"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.memory": "81559", "nvidia.com/gpu.count": "'$1'", "nvidia.com/gpu.present": "true"}'
  fi
  kubectl patch node $node --type=merge -p '{"metadata": {"labels": '"$labels"'}}' >/dev/null
  kubectl patch node $node --subresource=status --type=merge \
    -p '{"status": {"capacity": {"nvidia.com/gpu": "'"$1"'"}, "allocatable": {"nvidia.com/gpu": "'"$1"'"}}}' >/dev/null
}
