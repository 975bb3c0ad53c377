# Go programs, built from their modules into $bin. One is built again only where its version changed: $bin/.stamps has
# a file per program that says what it was built from.

stamped() { [ -x "$bin/$1" ] && [ "$(cat "$bin/.stamps/$1" 2>/dev/null)" = "$2" ]; } # PROGRAM STAMP

stamp() { mkdir -p "$bin/.stamps" && echo "$2" >"$bin/.stamps/$1"; } # PROGRAM STAMP

# go_mod_stamp NAME: of the programs whose versions are in programs/NAME/go.mod.
go_mod_stamp() { sha256sum "$hack/programs/$1/go.mod" | cut -c1-16; }

need_go() { # NAME
  command -v go >/dev/null || die "the Go toolchain is missing. Install Go (the version in $hack/programs/$1/go.mod or later) and put it on the PATH."
}

# build WHAT DIRECTORY ARGUMENTS-OF-GO-INSTALL...: the programs end up in DIRECTORY.
build() {
  local what=$1 directory=$2
  shift 2
  # Modules are checked against go.sum, else against the public checksum database, whatever this host says.
  GOBIN=$directory CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-buildvcs=false GOSUMDB=sum.golang.org GONOSUMDB= GOPRIVATE= long "building $what" "$cache/go-build.log" go install -trimpath "$@"
}
