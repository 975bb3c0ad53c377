# Images: built by buildah in a store of its own, brought into the node's containerd without a registry.
#
# An image is made once for the content of its inputs. Bringing it in moves only the layers that the node lacks.

build_store=$cache/images
addons_image=localhost/llmservice/cluster-addons:1

buildah() {
  mkdir -p "$build_store/tmp"
  BUILDAH_ISOLATION=chroot STORAGE_DRIVER=overlay TMPDIR="$build_store/tmp" \
    command buildah --root "$build_store/storage" --runroot "$build_store/run" "$@" 9>&-
}

is_built() { buildah inspect --type image "$1" >/dev/null 2>&1; }

# on_node IMAGE KEY: whether the node has the image as it was made from inputs of this key.
on_node() { on_earlier_node "$@" && [ -n "$(ctr images ls -q name=="$1")" ]; }

# on_earlier_node IMAGE KEY: the same of the last cluster's node, whose store is kept.
on_earlier_node() {
  local file=$store/keys/${1//\//_}
  [ -f "$file" ] && [ "$(<"$file")" = "$2" ]
}

# bring_in IMAGE KEY: from buildah's store into containerd. Layers are not compressed: that would take minutes.
bring_in() {
  alive containerd || start_ahead
  local image=$1 layout=$build_store/tmp/bring-in.$$ node_blobs=$store/io.containerd.content.v1.content/blobs/sha256 layer
  rm -rf "$layout"
  mkdir -p "$layout/blobs/sha256" "$store/keys"
  printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
  # A layer that the node has is linked into the layout, so that skopeo does not write it, and left out of the stream.
  for layer in $(buildah inspect --type image --format '{{range .OCIv1.RootFS.DiffIDs}}{{.}} {{end}}' "$image"); do
    layer=${layer#sha256:}
    [ ! -f "$node_blobs/$layer" ] || ln "$node_blobs/$layer" "$layout/blobs/sha256/$layer"
  done
  long "reading $image" "$build_store/push.log" skopeo copy --insecure-policy --dest-oci-accept-uncompressed-layers \
    "containers-storage:[overlay@$build_store/storage+$build_store/run]$image" "oci:$layout:$image"
  long "bringing $image to the node" "$build_store/import.log" stream_in "$layout"
  rm -rf "$layout"
  echo "$2" >"$store/keys/${image//\//_}"
  forget_replaced_images
}

# start_ahead: containerd alone, for images that come before the cluster.
start_ahead() {
  mkdir -p "$cluster" "$store"
  [ -f "$snapshot" ] || take_snapshot
  rm -f "$containerd_socket" "$containerd_socket.ttrpc"
  start_containerd
  started_ahead=$(<"$cluster/pids/containerd")
}

# end_ahead: ends what start_ahead has started, unless a cluster took its place.
end_ahead() {
  [ -n "${started_ahead:-}" ] && [ "$(cat "$cluster/pids/containerd" 2>/dev/null)" = "$started_ahead" ] || return 0
  stop containerd
  rm -f "$cluster/last-started"
  rmdir "$cluster/pids" 2>/dev/null || true
}

# forget_replaced_images: containerd gives each image a second name, sha256:ID, that would keep a replaced one for ever.
forget_replaced_images() {
  ctr images ls | awk 'NR > 1 && $1 !~ /^sha256:/ {named[$3]} NR > 1 && $1 ~ /^sha256:/ {other[$1] = $3}
    END {for (name in other) if (!(other[name] in named)) print name}' | while read -r image; do ctr images rm "$image" >/dev/null; done
}

stream_in() {
  (cd "$1" && find . -type f -links 1 -print0 | tar --null --files-from=- -cf -) | ctr images import -
}

# tidy: drops images that nothing is named after or built on any more, and the mount that buildah leaves on its store.
tidy() {
  buildah rmi --prune >/dev/null 2>&1 || true
  unmount_build_store
}

unmount_build_store() { umount "$build_store/storage/overlay" 2>/dev/null || true; }

# make_image NAME FILES...: an image FROM scratch that sleeps unless its command says otherwise; each file as SOURCE:DESTINATION.
make_image() {
  local image=$1 container file
  shift
  container=$(buildah from scratch)
  for file; do buildah copy -q "$container" "${file%%:*}" "${file#*:}" >/dev/null; done
  buildah config --env PATH=/bin --user 65534 --entrypoint '["/bin/sleep", "infinity"]' "$container"
  buildah commit -q --rm "$container" "$image" >/dev/null
}
