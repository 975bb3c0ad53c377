# The pod network: one bridge that the host is on too, so pods are reachable from here by their addresses.

join() { local IFS=,; echo "$*"; }

make_network() {
  mkdir -p "$cluster/cni"
  # Without an address of its own a bridge takes that of one of its ports, and changes it as pods come and go: pods with
  # IPv6 then lose the node for minutes.
  ip link show "$bridge" >/dev/null 2>&1 || ip link add "$bridge" address 0a:58:0a:58:00:01 type bridge
  local subnet address routes=() ranges=()
  for subnet in ${pod_cidr//,/ }; do
    if [[ $subnet == *:* ]]; then
      address=fd00:88::1
      ip address replace "$address/${subnet#*/}" dev "$bridge" nodad
      sysctl -qw net.ipv6.conf.all.forwarding=1
      ranges+=('[{"subnet": "'"$subnet"'", "gateway": "'$address'", "rangeStart": "fd00:88::1:0"}]')
      routes+=('{"dst": "::/0"}')
    else
      address=10.88.0.1
      ip address replace "$address/${subnet#*/}" dev "$bridge"
      sysctl -qw net.ipv4.ip_forward=1
      ranges+=('[{"subnet": "'"$subnet"'", "gateway": "'$address'", "rangeStart": "10.88.1.0"}]')
      routes+=('{"dst": "0.0.0.0/0"}')
    fi
  done
  ip link set "$bridge" up
  cat >"$cluster/cni/10-bridge.conflist" <<C
{
  "cniVersion": "0.4.0",
  "name": "llmservice",
  "plugins": [
    {
      "type": "bridge", "bridge": "$bridge", "isGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": {
        "type": "host-local", "dataDir": "$cluster/cni-addresses",
        "ranges": [$(join "${ranges[@]}")],
        "routes": [$(join "${routes[@]}")]
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
