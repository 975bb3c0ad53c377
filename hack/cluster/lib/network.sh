# The pod network: one bridge that the host is on too, so pods are reachable from here by their addresses.

make_network() {
  mkdir -p "$cluster/cni"
  ip link show "$bridge" >/dev/null 2>&1 || ip link add "$bridge" type bridge
  ip address replace "$node_address/16" dev "$bridge"
  ip link set "$bridge" up
  sysctl -qw net.ipv4.ip_forward=1
  cat >"$cluster/cni/10-bridge.conflist" <<C
{
  "cniVersion": "0.4.0",
  "name": "llmservice",
  "plugins": [
    {
      "type": "bridge", "bridge": "$bridge", "isGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": {
        "type": "host-local", "dataDir": "$cluster/cni-addresses",
        "ranges": [[{"subnet": "$pod_cidr", "gateway": "$node_address", "rangeStart": "10.88.1.0"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}},
    {"type": "firewall", "backend": "iptables"}
  ]
}
C
}

# remove_network: interfaces, and the rules that kubelet, kube-proxy and the plugins made; what is anyone else's stays.
remove_network() {
  local tables rules interface
  # The kernel removes a pod's end of its pair some time after the pod; the host's end is deleted now.
  for interface in $(ip -o link show type veth master "$bridge" 2>/dev/null | awk -F'[:@] *' '{print $2}'); do
    ip link delete "$interface" 2>/dev/null || true
  done
  ip link delete "$bridge" 2>/dev/null || true
  for tables in iptables ip6tables; do
    rules=$("$tables-save" 2>/dev/null) || continue
    [[ $rules == *KUBE-* || $rules == *CNI-* ]] || continue
    grep -vE 'KUBE-|CNI-' <<<"$rules" | "$tables-restore"
  done
}
