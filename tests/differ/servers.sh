#!/bin/bash
# servers.sh up DIR | down DIR: an upstream API server with its etcd, and Skiff's, without controllers, scheduler and node,
# so that nothing changes an object but a request. Prints the arguments for `cargo xtask differ`.
#   BIN=DIR    kube-apiserver, etcd and kubectl (default ~/.cache/conformance/bin)
#   SKIFF=FILE the binary (default target/debug/skiff)    PORT=N  the first of five ports (default 7610)
set -euo pipefail
BIN=${BIN:-${CONFORMANCE_CACHE:-$HOME/.cache/conformance}/bin} SKIFF=${SKIFF:-target/debug/skiff} PORT=${PORT:-7610}
D=${2:?where to}; mkdir -p "$D"; D=$(realpath "$D")

cert() { # name subject [san]
  openssl req -new -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" \
    -extfile <(echo "keyUsage=digitalSignature,keyEncipherment"; echo "extendedKeyUsage=clientAuth,serverAuth"; [ -z "${3:-}" ] || echo "subjectAltName=$3") 2>/dev/null
}
start() { # name command...
  local name=$1; shift
  setsid "$@" >"$D/$name.log" 2>&1 </dev/null & echo $! >"$D/$name.pid"
}
ready() { # kubeconfig
  for _ in $(seq 240); do "$BIN/kubectl" --kubeconfig "$1" get --raw /readyz >/dev/null 2>&1 && return; sleep 0.25; done
  echo "$1: not ready" >&2; exit 1
}
up() {
  SKIFF=$(realpath "$SKIFF"); cd "$D"
  openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=differ -days 30 -addext keyUsage=critical,keyCertSign,digitalSignature 2>/dev/null
  openssl req -x509 -newkey rsa:2048 -nodes -keyout front.key -out front.crt -subj /CN=front -days 30 2>/dev/null
  openssl genrsa -out sa.key 2048 2>/dev/null; openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
  cert apiserver /CN=kube-apiserver IP:127.0.0.1,DNS:localhost; cert admin "/O=system:masters/CN=system:admin"
  printf 'apiVersion: v1\nkind: Config\ncurrent-context: up\nclusters:\n- name: up\n  cluster:\n    server: https://127.0.0.1:%s\n    certificate-authority-data: %s\nusers:\n- name: admin\n  user:\n    client-certificate-data: %s\n    client-key-data: %s\ncontexts:\n- name: up\n  context: {cluster: up, user: admin}\n' \
    "$PORT" "$(base64 -w0 ca.crt)" "$(base64 -w0 admin.crt)" "$(base64 -w0 admin.key)" >upstream.kubeconfig
  start etcd "$BIN/etcd" --data-dir "$D/etcd" --listen-client-urls "http://127.0.0.1:$((PORT + 1))" --advertise-client-urls "http://127.0.0.1:$((PORT + 1))" \
    --listen-peer-urls "http://127.0.0.1:$((PORT + 2))" --initial-advertise-peer-urls "http://127.0.0.1:$((PORT + 2))" --initial-cluster "default=http://127.0.0.1:$((PORT + 2))" --log-level warn --unsafe-no-fsync
  start upstream "$BIN/kube-apiserver" --etcd-servers="http://127.0.0.1:$((PORT + 1))" --bind-address=127.0.0.1 --secure-port="$PORT" --advertise-address=192.0.2.1 \
    --endpoint-reconciler-type=none --tls-cert-file=apiserver.crt --tls-private-key-file=apiserver.key --client-ca-file=ca.crt --requestheader-client-ca-file=front.crt \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local --service-account-key-file=sa.pub --service-account-signing-key-file=sa.key \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --service-cluster-ip-range=10.96.0.0/16 --allow-privileged
  start skiff "$SKIFF" server --disable-agent --disable-controller-manager --disable-scheduler --data-dir "$D/skiff" --run-dir "$D/run" --config-dir "$D/etc" \
    --bind-address 127.0.0.1 --advertise-address 192.0.2.1 --https-listen-port $((PORT + 3)) --service-cidr 10.96.0.0/16
  for _ in $(seq 100); do [ -e "$D/etc/skiff.yaml" ] && break; sleep 0.1; done
  ready "$D/upstream.kubeconfig"; ready "$D/etc/skiff.yaml"
  echo "--upstream $D/upstream.kubeconfig --skiff $D/etc/skiff.yaml"
}
down() {
  for name in upstream skiff etcd; do [ -e "$D/$name.pid" ] && kill "$(cat "$D/$name.pid")" 2>/dev/null || true; rm -f "$D/$name.pid"; done
  sleep 2; rm -rf "$D"
}
case ${1:-} in up) up ;; down) down ;; *) sed -n 2,5p "$0"; exit 2 ;; esac
