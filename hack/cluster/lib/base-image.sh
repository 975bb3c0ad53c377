# The base of the project's images where no registry can be reached: a minimal Debian with Python, by debootstrap.

base_key=$(sha256sum <"${BASH_SOURCE[0]}" | cut -c1-16)
base_image=localhost/llmservice/base:$base_key

# From the mirror that this host's apt uses for the release, else from debootstrap's own.
mirror() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' 2>/dev/null | sed -n 1p; }

base_image() {
  local root=$build_store/tmp/base container
  is_built "$base_image" && return
  rm -rf "$root"
  mkdir -p "$build_store/tmp"
  # shellcheck disable=SC2046
  long "making the base image (Debian with Python)" "$build_store/base.log" \
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates,libnuma1 bookworm "$root" $(mirror)
  rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
  find "$root/dev" -mindepth 1 -delete
  container=$(buildah from scratch)
  buildah copy -q "$container" "$root" / >/dev/null
  buildah config --env PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin --env LANG=C.UTF-8 --cmd python3 "$container"
  buildah commit -q --rm "$container" "$base_image" >/dev/null
  rm -rf "$root"
}
