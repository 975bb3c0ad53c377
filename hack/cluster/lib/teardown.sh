# Ending the cluster, whatever state it is in: running, half started, or left by a killed session.
#
# Needs no record to be right: what still runs is found by looking, and a record of a dead program does no harm.

end_everything() {
  local name
  for name in kwok keda-adapter keda-operator kubelet kube-proxy kube-scheduler kube-controller-manager; do stop "$name"; done
  # These two would wait for their clients, and hold nothing that outlives the cluster.
  for name in kube-apiserver etcd; do stop "$name" KILL; done
  end_containers
  stop containerd
  kill_strays
  unmount_all
  unmount_build_store
  [ ! -f "$snapshot" ] || { remove_network; restore_settings; remove_strays; }
  find "$cluster" -mindepth 1 -maxdepth 1 ! -path "$store" ! -path "$snapshot" ! -name log -exec rm -rf {} + 2>/dev/null || true
}

# end_containers: removes tasks and containers from containerd, so that its store keeps images alone.
end_containers() {
  local containers
  [ -d "$store/io.containerd.metadata.v1.bolt" ] || return 0
  alive containerd || { rm -f "$containerd_socket" "$containerd_socket.ttrpc"; start_containerd; }
  containers=$(ctr containers ls -q)
  [ -n "$containers" ] || return 0
  xargs -n1 -P8 ctr --address "$containerd_socket" --namespace k8s.io tasks rm --force <<<"$containers" >/dev/null 2>&1 || true
  # shellcheck disable=SC2086
  ctr containers rm $containers >/dev/null 2>&1 || true
}

# kill_strays: shims that outlived their containerd, programs whose record was lost, pods that outlived their shim.
kill_strays() {
  local pid words group
  while read -r pid words; do kill -KILL "$pid" 2>/dev/null || true; done < <(cluster_processes)
  for group in "${pod_groups[@]}"; do
    grep -qxF "cgroup $group" "$snapshot" 2>/dev/null && continue
    find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null | xargs -r kill -KILL 2>/dev/null || true
  done
  rm -rf "$store/io.containerd.grpc.v1.cri"
}

unmount_all() {
  local target
  awk -v ours="$cluster/" 'index($2, ours) == 1 {print $2}' /proc/mounts | LC_ALL=C sort -r | while read -r target; do
    umount "$(printf '%b' "$target")" 2>/dev/null || umount -l "$(printf '%b' "$target")" || true
  done
}
