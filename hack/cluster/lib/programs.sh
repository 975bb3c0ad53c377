# Go programs, built from their modules into $bin. One is built again only where its version changed: $bin/.stamps has
# a file per program that says what it was built from.

stamped() { [ -x "$bin/$1" ] && [ "$(cat "$bin/.stamps/$1" 2>/dev/null)" = "$2" ]; } # PROGRAM STAMP

stamp() { mkdir -p "$(dirname "$bin/.stamps/$1")" && echo "$2" >"$bin/.stamps/$1"; } # PROGRAM STAMP

# go_mod_stamp NAME: of the programs whose versions are in programs/NAME/go.mod.
go_mod_stamp() { sha256sum "$hack/programs/$1/go.mod" | cut -c1-16; }

earlier_versions() { (cd "$hack/programs" && printf '%s ' kubernetes-*) | sed 's/kubernetes-//g; s/ $//'; }

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

# module_version PROGRAM MODULE-PATH: what programs/PROGRAM/go.mod requires.
module_version() { awk -v module="$2" '$1 == module {print $2; exit} $1 == "require" && $2 == module {print $3; exit}' "$hack/programs/$1/go.mod"; }

# build_tool PROGRAM MODULE-PATH NAME MORE-ARGUMENTS...: the program NAME of programs/PROGRAM, as $bin/PROGRAM
build_tool() {
  local program=$1 module=$2 name=$3 version made
  shift 3
  version=$(module_version "$program" "$module")
  if ! stamped "$program" "$(go_mod_stamp "$program")"; then
    need_go "$program"
    made=$(mktemp -d "$cache/$program.XXXXXX")
    (cd "$hack/programs/$program" && build "$name $version (minutes at first)" "$made" -ldflags="-s -w" "$@" tool)
    mkdir -p "$bin"
    mv "$made/$name" "$bin/$program"
    rmdir "$made"
    stamp "$program" "$(go_mod_stamp "$program")"
  fi
  say "$name $version is built ($bin/$program)"
}
