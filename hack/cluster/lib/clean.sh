# What the host looks like where the cluster would leave a trace, as sorted lines that can be compared.
#
# `up` writes it down before it changes anything; `down` brings the host back to it; `check-clean` compares.

# The kernel settings that kubelet, kube-proxy, the bridge plugin and `up` change.
settings='net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.ipv4.conf.all.route_localnet net.bridge.bridge-nf-call-iptables
  net.netfilter.nf_conntrack_max net.netfilter.nf_conntrack_tcp_be_liberal
  net.netfilter.nf_conntrack_tcp_timeout_established net.netfilter.nf_conntrack_tcp_timeout_close_wait
  vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops
  kernel.keys.root_maxkeys kernel.keys.root_maxbytes'

# Directories that the programs make outside $cluster, whatever their configuration says.
strays='/var/lib/kubelet /var/lib/cni /run/containerd /var/log/containers /var/log/pods /opt/local-path-provisioner
  /usr/libexec/kubernetes /etc/cni/net.d /run/xtables.lock /var/run/netns /run/kubernetes'

# Where containerd puts the processes of pods: the systemd hierarchy of cgroup v1 knows each of them, or the one of v2.
pod_groups=(/sys/fs/cgroup/systemd/k8s.io /sys/fs/cgroup/unified/k8s.io /sys/fs/cgroup/k8s.io)

traces() {
  local name tables directory
  for name in $settings; do echo "setting $name = $(sysctl -n "$name" 2>/dev/null || echo absent)"; done
  for directory in $strays; do [ ! -e "$directory" ] || echo "path $directory"; done
  find /sys/fs/cgroup -maxdepth 2 -type d \( -name k8s.io -o -name 'kubepods*' \) -printf 'cgroup %p\n'
  awk '{print "mount", $2}' /proc/mounts
  ip -o link | awk -F'[:@] *' '{print "interface", $2}'
  ip route | sed 's/^/route /'
  # An empty chain with the policy ACCEPT is the same as none.
  for tables in iptables ip6tables; do
    "$tables-save" 2>/dev/null | grep -E '^(-A|:.* (DROP|-) )' | sed "s/ \[[0-9:]*\]//; s/^/$tables /" || true
  done
  cluster_processes | sed 's/^[0-9]*/process/'
}

# cluster_processes: pid and command line of what runs from this cluster's state; a user's kubectl is not among them.
cluster_processes() {
  local pid words
  for pid in /proc/[0-9]*; do
    words=$({ tr '\0' ' ' <"$pid/cmdline"; } 2>/dev/null) || continue
    case $words in
      "$bin/kubectl "*) ;;
      "$bin"/k*"$cluster/"* | *containerd-shim*"$cluster/"* | containerd\ *"$cluster/"* | etcd\ *"$cluster/"*)
        echo "${pid#/proc/} $words" ;;
    esac
  done
}

# take_snapshot: without the mounts of a build that may run meanwhile.
take_snapshot() { traces | grep -vF "mount $build_store/" | LC_ALL=C sort -u >"$snapshot"; }

restore_settings() {
  local word name equals value
  while read -r word name equals value; do
    [ "$word" = setting ] && [ "$value" != absent ] && [ "$(sysctl -n "$name")" != "$value" ] || continue
    sysctl -qw "$name=$value"
  done <"$snapshot"
}

# remove_strays: those that were not there before.
remove_strays() {
  local directory
  for directory in $strays; do
    grep -qxF "path $directory" "$snapshot" || rm -rf "$directory"
  done
  grep -q '^cgroup ' "$snapshot" || find /sys/fs/cgroup -depth -type d \( -path '*/k8s.io/*' -o -name k8s.io \) -exec rmdir {} \; 2>/dev/null || true
}
