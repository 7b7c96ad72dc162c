#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What `helm test` runs, in a pod without any privilege: writes BYTES into a file, and waits until Sonde shows them for this pod.
#   SOURCE            where to look: the address of a Prometheus endpoint, or SondeNode for the node's report at the API server
#   BYTES, DIRECTORY  what to write, and where
#   POD_NAME, POD_NAMESPACE, NODE_NAME, POLICY    this pod, its node, and the MonitorPolicy that selects it
#   TIMEOUT           seconds until it gives up
#   API, ACCOUNT      the API server, and the directory of the service account's token and CA
#   AGENT             name of the DaemonSet, for what is said at the end
set -eu
say() { echo "helm test: $*"; }
deadline=$(($(date +%s) + TIMEOUT))
seen="nothing yet"

# The bytes that a Prometheus endpoint shows as written by this pod; nothing if it has no such series.
written() {
  awk -v pod="k8s_pod_name=\"$POD_NAME\"" -v namespace="k8s_namespace_name=\"$POD_NAMESPACE\"" '
    /^sonde_file_io_bytes_total\{/ && /disk_io_direction="write"/ && index($0, pod) && index($0, namespace) {
      found = 1
      sum += $NF
    }
    END { if (found) printf "%.0f\n", sum }'
}

# Of a SondeNode the line about the policy that selects this pod. Objects within objects begin new lines.
reported() {
  tr -d '\n' | tr '{' '\n' | grep -F "\"name\":\"$POLICY\"" | grep -F "\"namespace\":\"$POD_NAMESPACE\"" | head -n 1
}

ask() { curl --silent --show-error --fail --max-time 20 "$@" 2>&1; }

look_at_metrics() {
  if ! answer=$(ask "$SOURCE"); then seen="$answer"; return 1; fi
  bytes=$(printf '%s\n' "$answer" | written)
  if [ -z "$bytes" ]; then seen="it answers, and has no series of this pod"; return 1; fi
  seen="$bytes bytes"
  [ "$bytes" -ge "$BYTES" ] || return 1
  # The rest is what the start of a container writes.
  if [ $((bytes - BYTES)) -gt $((BYTES / 16)) ]; then say "FAILED: $bytes bytes are shown, more than were written"; exit 1; fi
}

look_at_node() {
  answer=$(printf 'Authorization: Bearer %s' "$(cat "$ACCOUNT/token")" | ask --header @- --cacert "$ACCOUNT/ca.crt" \
    "$API/apis/sonde.dev/v1alpha1/sondenodes/$NODE_NAME?pretty=false") || { seen="$answer"; return 1; }
  line=$(printf '%s' "$answer" | reported)
  seen="the SondeNode $NODE_NAME says of the policy $POLICY: ${line:-nothing}"
  case $line in *'"state":"Applied"'*) ;; *) return 1 ;; esac
  case $line in *'"matchedContainers":0'*) return 1 ;; *'"matchedContainers":'*) ;; *) return 1 ;; esac
}

dd if=/dev/zero of="$DIRECTORY/known" bs=4096 count=$((BYTES / 4096)) conv=fsync 2>/dev/null
say "$POD_NAMESPACE/$POD_NAME on $NODE_NAME wrote $BYTES bytes; looking for them: $SOURCE"
look=look_at_metrics
[ "$SOURCE" != SondeNode ] || look=look_at_node
until $look; do
  if [ "$(date +%s)" -ge "$deadline" ]; then
    say "FAILED after $TIMEOUT s; last seen: $seen"
    say "next: kubectl get sondenodes; kubectl -n $POD_NAMESPACE logs daemonset/$AGENT; sonde doctor in the agent's pod on $NODE_NAME"
    exit 1
  fi
  sleep 5
done
say "OK: $seen"
