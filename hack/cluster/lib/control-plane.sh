# etcd, API server, controller manager and scheduler, as processes of the host.
#
# etcd starts empty each time: a cluster is made in seconds and holds nothing worth keeping.

# Own ports for etcd: a host that runs Debian's etcd service keeps it.
etcd_client=http://127.0.0.1:6479
etcd_peer=http://127.0.0.1:6480

# Another's etcd must never be mistaken for the cluster's own.
need_free_ports() {
  local port user
  for port in 6443 6479 6480 10248 10249 10250 10256 10257 10259; do
    user=$(ss -Hltnp "sport = :$port" | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1 (pid \2)/p' | sed -n 1p)
    [ -z "$(ss -Hltn "sport = :$port")" ] || die "port $port, which the cluster needs, is taken by ${user:-another program}. End it, then start again."
  done
}

start_control_plane() {
  local pki=$cluster/pki
  start etcd etcd --data-dir "$cluster/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls $etcd_client --advertise-client-urls $etcd_client \
    --listen-peer-urls $etcd_peer --initial-advertise-peer-urls $etcd_peer --initial-cluster default=$etcd_peer
  # Lists by watching need a later etcd; without them kwok's watches are refused, and its pods take 10 s to be Ready.
  start kube-apiserver "$kubernetes/kube-apiserver" --bind-address="$([ "$families" = ipv4 ] && echo 0.0.0.0 || echo ::)" --etcd-servers=$etcd_client --secure-port=6443 \
    --feature-gates=WatchList=false \
    --advertise-address=$node_address --service-cluster-ip-range=$service_cidr --allow-privileged=true \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --service-account-key-file="$pki/service-accounts.key" --service-account-signing-key-file="$pki/service-accounts.key" \
    --service-account-issuer=https://kubernetes.default.svc \
    --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key" \
    --kubelet-preferred-address-types=InternalIP \
    --requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- --enable-aggregator-routing=true \
    --proxy-client-cert-file="$pki/front-proxy.crt" --proxy-client-key-file="$pki/front-proxy.key"
  await 120 "the API server (https://127.0.0.1:6443/readyz)" kubectl get --raw /readyz
  say "API server ready"
  start kube-controller-manager "$kubernetes/kube-controller-manager" $(delegated controller-manager) \
    --service-account-private-key-file="$pki/service-accounts.key" --root-ca-file="$pki/ca.crt" \
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" \
    --use-service-account-credentials=true --horizontal-pod-autoscaler-sync-period="${LLMSERVICE_HPA_SYNC:-5s}" \
    --flex-volume-plugin-dir="$cluster/volume-plugins"
  start kube-scheduler "$kubernetes/kube-scheduler" $(delegated scheduler)
}

delegated() { # the flags by which a program asks the API server for everything as itself; no leader election: it is alone
  local file=$cluster/pki/$1.kubeconfig
  echo "--kubeconfig=$file --authentication-kubeconfig=$file --authorization-kubeconfig=$file --leader-elect=false"
}
