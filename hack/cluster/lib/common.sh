# What every script of the local cluster shares: where things are, how it speaks, how it waits.
#
# Always holds: everything that may be thrown away lies under $cluster except $store, the node's images; programs are
# the ones in $bin, never the host's; one script at a time changes the cluster (see `exclusively`).
set -euo pipefail

hack=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
repository=$(cd "$hack/../.." && pwd)
cache=${LLMSERVICE_CACHE:-$HOME/.cache/llmservice}
cluster=${LLMSERVICE_CLUSTER:-$cache/cluster}
bin=$cache/bin
# Kubernetes' own programs: those of $bin, or those of the version that the running cluster was started with.
kubernetes=$bin
[ ! -s "$cluster/kubernetes" ] || kubernetes=$bin/kubernetes-$(<"$cluster/kubernetes")
store=$cluster/image-store
snapshot=$cluster/before
node=gpu-0
bridge=llmservice0
containerd_socket=$cluster/containerd.sock
# Families of addresses: ipv4, ipv6 or dual (IPv4 first); those that the running cluster was started with.
families=ipv4
[ ! -s "$cluster/families" ] || families=$(<"$cluster/families")
SECONDS=0

# set_addresses: those of the node, of pods and of Services, the first family first; lists are separated by commas.
set_addresses() {
  case $families in
    ipv4) node_addresses=10.88.0.1 pod_cidr=10.88.0.0/16 service_cidr=10.96.0.0/16 service_addresses=10.96.0.1 dns_address=10.96.0.10 ;;
    ipv6) node_addresses=fd00:88::1 pod_cidr=fd00:88::/64 service_cidr=fd00:96::/112 service_addresses=fd00:96::1 dns_address=fd00:96::a ;;
    dual)
      node_addresses=10.88.0.1,fd00:88::1 pod_cidr=10.88.0.0/16,fd00:88::/64 service_cidr=10.96.0.0/16,fd00:96::/112
      service_addresses=10.96.0.1,fd00:96::1 dns_address=10.96.0.10
      ;;
    *) die "no families '$families': there are ipv4, ipv6 and dual." ;;
  esac
  node_address=${node_addresses%%,*}
}

say() { printf '[%4d s] %s\n' "$SECONDS" "$*" >&2; }

# die MESSAGE [PROGRAM]: says what went wrong and, for a program, the last lines of its log.
die() {
  printf '\nerror: %s\n' "$1" >&2
  if [ -n "${2:-}" ] && [ -f "$cluster/log/$2.log" ]; then
    printf 'last lines of %s:\n' "$cluster/log/$2.log" >&2
    tail -n 15 "$cluster/log/$2.log" | sed 's/^/  | /' >&2
  fi
  exit 1
}

set_addresses

need_root() { [ "$(id -u)" = 0 ] || die "the local cluster needs root: it mounts, makes interfaces and cgroups. Run it as root."; }

# need_disk GIB WHAT DIRECTORY: dies if less is free than a step takes, before the step has begun.
need_disk() {
  local free
  mkdir -p "$3"
  free=$(df --output=avail -BG "$3" | tr -dc '0-9\n' | tail -n 1)
  ((free >= $1)) || die "$2 takes up to $1 GiB of disk; $3 has $free GiB free. Free some, or set LLMSERVICE_CACHE to a directory on a larger disk."
}

# exclusively WHAT: waits until no other script works on the same (cluster, images), and keeps others out until this one ends.
exclusively() {
  mkdir -p "$cache"
  exec 9>"$cache/$1.lock"
  flock -n 9 && return
  say "another hack/cluster script works on the $1; waiting for it"
  flock 9
}

# long WHAT LOG COMMAND...: runs a command that may take minutes, says every 15 s that it still does, and dies with its last lines.
long() {
  local what=$1 log=$2 since=$SECONDS pid
  shift 2
  mkdir -p "${log%/*}"
  say "$what"
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  while kill -0 $pid 2>/dev/null; do
    sleep 0.2
    (((SECONDS - since) % 15 == 14)) && say "  still $what ($((SECONDS - since + 1)) s): $(tail -n 1 "$log" | cut -c1-80)" && sleep 1
  done
  wait $pid || die "$what failed. The whole log is $log; its last lines:
$(tail -n 15 "$log" | sed 's/^/  | /')"
  say "$what took $((SECONDS - since)) s"
}

# await SECONDS WHAT COMMAND...: polls until the command succeeds; dies when the time is over or a started program ended.
await() {
  local limit=$1 what=$2 since=$SECONDS reported=$SECONDS dead
  shift 2
  until "$@" >/dev/null 2>&1; do
    dead=$(first_dead)
    [ -z "$dead" ] || die "$dead ended while waiting for $what." "$dead"
    ((SECONDS - since < limit)) || die "$what: not within $limit s. Logs: $cluster/log." "$(last_started)"
    if ((SECONDS - reported >= 10)); then
      reported=$SECONDS
      say "  still waiting for $what ($((SECONDS - since)) of at most $limit s)"
    fi
    sleep 0.2
  done
}

kubectl() { "$bin/kubectl" --kubeconfig "$cluster/kubeconfig" "$@"; }
ctr() { command ctr --address "$containerd_socket" --namespace k8s.io "$@"; }

# key FILE-OR-DIRECTORY...: one hash over names and contents below the paths, for caches; paths are taken from $repository.
key() {
  (cd "$repository" && find "$@" -type f -not -path '*/__pycache__/*' -not -name '*.pyc' -print0 | LC_ALL=C sort -z \
    | xargs -0 sha256sum | sha256sum | cut -c1-16)
}
