# KEDA beside the cluster: its operator and its metrics API as processes of the host, as KEDA's own ServiceAccount with
# KEDA's own roles. Nothing of it is in a cluster that did not ask for it, and `keda down` takes all of it away.
#
# One certificate serves both ends: the API server asks the metrics API, and that asks KEDA's operator.

keda_programs=(keda-operator keda-adapter)
keda_manifests=$cache/keda
keda_api=v1beta1.external.metrics.k8s.io
keda_api_port=6643
keda_metrics_port=9666

keda_version() { awk '$2 == "github.com/kedacore/keda/v2" {print $3; exit} $1 == "github.com/kedacore/keda/v2" {print $2; exit}' "$hack/programs/keda/go.mod"; }

keda_built() {
  local name
  for name in "${keda_programs[@]}"; do stamped "$name" "$(go_mod_stamp keda)" || return 1; done
  [ -s "$keda_manifests/crds.yaml" ] && [ -s "$keda_manifests/roles.yaml" ]
}

build_keda() {
  local version name source new=$bin/.keda
  keda_built && return
  need_go keda
  version=$(keda_version)
  (cd "$hack/programs/keda" && build "KEDA $version (a quarter of an hour at first)" "$new" \
    -ldflags="-s -w -X github.com/kedacore/keda/v2/version.Version=${version#v}" tool)
  source=$(cd "$hack/programs/keda" && GOTOOLCHAIN=local go list -m -f '{{.Dir}}' github.com/kedacore/keda/v2)
  mkdir -p "$keda_manifests"
  joined "$source"/config/crd/bases/*.yaml >"$keda_manifests/crds.yaml"
  joined "$source"/config/{general/namespace,service_account/service_account}.yaml \
    "$source"/config/{rbac,metrics-server}/{role,role_binding}.yaml >"$keda_manifests/roles.yaml"
  for name in operator adapter; do
    mv "$new/$name" "$bin/keda-$name"
    stamp "keda-$name" "$(go_mod_stamp keda)"
  done
  rmdir "$new"
}

joined() { # FILE...: one stream of documents
  local file
  for file; do
    echo ---
    cat "$file"
  done
}

# need_free_api: another server of external metrics is not pushed aside.
need_free_api() {
  local owner
  owner=$(kubectl get apiservice "$keda_api" --ignore-not-found -o jsonpath='{.spec.service.namespace}/{.spec.service.name}')
  case $owner in
    '' | keda/keda-metrics-apiserver) ;;
    *) die "external.metrics.k8s.io is served by $owner already, and a cluster has one server of it. Remove that one first: kubectl delete apiservice $keda_api" ;;
  esac
}

start_keda() {
  local pki=$cluster/pki config=$cluster/pki/keda.kubeconfig
  kubectl apply --server-side --force-conflicts --field-manager=hack-cluster -f "$keda_manifests/crds.yaml" -f "$keda_manifests/roles.yaml" >/dev/null
  keda_credentials "$config"
  export KUBECONFIG=$config WATCH_NAMESPACE= POD_NAMESPACE=keda KEDA_CLUSTER_OBJECT_NAMESPACE=keda
  alive keda-operator || start keda-operator "$bin/keda-operator" --kubeconfig="$config" --cert-dir="$pki/keda" \
    --metrics-bind-address=0 --health-probe-bind-address=0 --metrics-service-bind-address=127.0.0.1:$keda_metrics_port \
    --zap-log-level=info --zap-encoder=console --zap-time-encoding=rfc3339
  alive keda-adapter || start keda-adapter "$bin/keda-adapter" --kubeconfig="$config" --lister-kubeconfig="$config" \
    --authentication-kubeconfig="$config" --authorization-kubeconfig="$config" --bind-address=$node_address --secure-port=$keda_api_port \
    --tls-cert-file="$pki/keda/tls.crt" --tls-private-key-file="$pki/keda/tls.key" --cert-dir="$pki/keda" \
    --metrics-service-address=127.0.0.1:$keda_metrics_port --port=0 --zap-log-level=info
  unset KUBECONFIG
  sed -e "s|@ADDRESS@|$node_address|; s|@PORT@|$keda_api_port|; s|@CA@|$(base64 -w0 "$pki/ca.crt")|" "$hack/lib/keda.yaml" \
    | kubectl apply --server-side --force-conflicts --field-manager=hack-cluster -f - >/dev/null
  await 90 "KEDA's metrics API" keda_ready
}

# keda_credentials FILE: certificates for both programs, and a kubeconfig of KEDA's ServiceAccount.
keda_credentials() {
  local pki=$cluster/pki
  if [ ! -s "$pki/keda/tls.crt" ]; then
    certificate keda /CN=keda "IP:127.0.0.1,IP:$node_address,DNS:keda-operator.keda.svc,DNS:keda-metrics-apiserver.keda.svc"
    mkdir -p "$pki/keda"
    cp "$pki/ca.crt" "$pki/keda/ca.crt"
    mv "$pki/keda.crt" "$pki/keda/tls.crt"
    mv "$pki/keda.key" "$pki/keda/tls.key"
  fi
  cat >"$1" <<K
apiVersion: v1
kind: Config
clusters:
- name: llmservice
  cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}
users:
- name: keda
  user: {token: "$(kubectl create token keda-operator -n keda --duration=24h)"}
contexts:
- name: keda
  context: {cluster: llmservice, user: keda}
current-context: keda
K
  chmod 600 "$1"
}

keda_ready() { [ "$(kubectl get apiservice "$keda_api" -o jsonpath='{.status.conditions[?(@.type=="Available")].status}')" = True ]; }

# end_keda: its objects first, while it can still take its finalizer off them.
end_keda() {
  local object
  if kubectl get crd scaledobjects.keda.sh >/dev/null 2>&1; then
    if alive keda-operator; then
      kubectl delete scaledobjects --all -A --timeout=60s >/dev/null 2>&1 || true
    fi
    kubectl get scaledobjects -A -o jsonpath='{range .items[*]}{.metadata.namespace} {.metadata.name}{"\n"}{end}' | while read -r object; do
      # shellcheck disable=SC2086
      set -- $object
      kubectl patch scaledobject -n "$1" "$2" --type=merge -p '{"metadata":{"finalizers":null}}' >/dev/null
    done
  fi
  if [ "$(kubectl get apiservice "$keda_api" --ignore-not-found -o jsonpath='{.spec.service.namespace}')" = keda ]; then
    kubectl delete apiservice "$keda_api" >/dev/null
  fi
  stop keda-adapter
  stop keda-operator
  [ ! -s "$keda_manifests/crds.yaml" ] || kubectl delete --ignore-not-found --wait=false -f "$keda_manifests/roles.yaml" -f "$keda_manifests/crds.yaml" >/dev/null
  await 60 "KEDA's types and namespace to be gone" keda_gone
}

keda_gone() { [ -z "$(kubectl get crd scaledobjects.keda.sh --ignore-not-found -o name)$(kubectl get namespace keda --ignore-not-found -o name)" ]; }
