# Everything a script of the local cluster may call.
_lib=$(dirname "${BASH_SOURCE[0]}")
for _file in common programs process pki network images addons node control-plane keda clean teardown; do
  # shellcheck disable=SC1090
  . "$_lib/$_file.sh"
done

is_running() {
  local name
  for name in etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet kube-proxy; do alive "$name" || return 1; done
  node_ready 2>/dev/null
}
