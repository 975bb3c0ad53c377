# Keys, certificates and kubeconfigs: one authority, and for each program the identity that Kubernetes' own RBAC knows.

authority() {
  mkdir -p "$cluster/pki"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=llmservice-local-cluster \
    -keyout "$cluster/pki/ca.key" -out "$cluster/pki/ca.crt" 2>/dev/null
  openssl ecparam -name prime256v1 -genkey -noout -out "$cluster/pki/service-accounts.key"
}

certificate() { # NAME SUBJECT ALTERNATIVE-NAMES
  local file=$cluster/pki/$1
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$file.key" -subj "$2" -out "$file.csr" 2>/dev/null
  openssl x509 -req -in "$file.csr" -CA "$cluster/pki/ca.crt" -CAkey "$cluster/pki/ca.key" -days 365 -out "$file.crt" \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$3") 2>/dev/null
}

# kubeconfig NAME FILE: self-contained, so that it may be copied elsewhere.
kubeconfig() {
  local pki=$cluster/pki
  cat >"$2" <<K
apiVersion: v1
kind: Config
clusters:
- name: llmservice
  cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}
users:
- name: $1
  user: {client-certificate-data: $(base64 -w0 "$pki/$1.crt"), client-key-data: $(base64 -w0 "$pki/$1.key")}
contexts:
- name: llmservice
  context: {cluster: llmservice, user: $1}
current-context: llmservice
K
  chmod 600 "$2"
}

make_identities() {
  authority
  certificate apiserver /CN=kube-apiserver \
    "IP:127.0.0.1,$(printf 'IP:%s,' ${service_addresses//,/ } ${node_addresses//,/ })DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
  certificate front-proxy /CN=front-proxy DNS:front-proxy
  certificate admin /O=system:masters/CN=admin DNS:admin
  certificate controller-manager /CN=system:kube-controller-manager DNS:controller-manager
  certificate scheduler /CN=system:kube-scheduler DNS:scheduler
  certificate kubelet "/O=system:nodes/CN=system:node:$node" DNS:kubelet
  certificate proxy /CN=system:kube-proxy DNS:proxy
  kubeconfig admin "$cluster/kubeconfig"
  local name
  for name in controller-manager scheduler kubelet proxy; do kubeconfig "$name" "$cluster/pki/$name.kubeconfig"; done
}
