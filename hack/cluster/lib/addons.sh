# What runs in the cluster from the start: DNS, volumes, Prometheus; all from one small image, with the pods' sandbox.

addons_key() {
  {
    cat "$hack/lib/addons.sh" "$hack/lib/images.sh" "$bin"/.stamps/{kubectl,coredns} "$bin/.stamps/local-path-provisioner"
    sha256sum "$(command -v busybox)" "$(command -v prometheus)"
  } | sha256sum | cut -c1-16
}

# addons_image_on_node: Go programs that need no library, Debian's Prometheus with its C library, and a static busybox.
addons_image_on_node() {
  local key root=$build_store/tmp/addons file
  key=$(addons_key)
  on_node "$addons_image" "$key" && return
  say "making the image of the addons"
  rm -rf "$root"
  mkdir -p "$root/bin" "$root/tmp" "$root/prometheus"
  chmod 1777 "$root/tmp" "$root/prometheus"
  cp "$bin/kubectl" "$bin/coredns" "$bin/local-path-provisioner" "$(command -v busybox)" "$(command -v prometheus)" "$root/bin"
  for file in sh sleep mkdir rm mv cat ls wget nslookup; do ln -s busybox "$root/bin/$file"; done
  for file in $(ldd "$(command -v prometheus)" | grep -oE '/[^ ]+'); do cp -L --parents "$file" "$root"; done
  make_image "$addons_image" "$root:/"
  rm -rf "$root"
  bring_in "$addons_image" "$key"
  unmount_build_store
}

start_addons() {
  local file
  for file in "$hack"/addons/*.yaml; do
    sed -e "s|@IMAGE@|$addons_image|g; s|@DNS@|$dns_address|g; s|@VOLUMES@|$cluster/volumes|g; s|@NODE@|$node|g" "$file"
    echo ---
  done | kubectl apply -f - >/dev/null
}

addons_ready() {
  [ "$(kubectl get deployments -A -l llmservice.dev/addon -o jsonpath='{range .items[*]}{.status.readyReplicas}{end}')" = 111 ]
}
