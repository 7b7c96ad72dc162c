{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{- define "sonde.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "sonde.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "sonde.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "sonde.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "sonde.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "sonde.selector" -}}
app.kubernetes.io/name: {{ include "sonde.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "sonde.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{ include "sonde.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sonde
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{- define "sonde.agentAccount" -}}
{{- if .Values.agent.serviceAccount.create -}}
{{- default (printf "%s-agent" (include "sonde.fullname" .)) .Values.agent.serviceAccount.name -}}
{{- else -}}
{{- required "agent.serviceAccount.name is needed where agent.serviceAccount.create is false" .Values.agent.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "sonde.operatorAccount" -}}
{{- if .Values.operator.serviceAccount.create -}}
{{- default (printf "%s-operator" (include "sonde.fullname" .)) .Values.operator.serviceAccount.name -}}
{{- else -}}
{{- required "operator.serviceAccount.name is needed where operator.serviceAccount.create is false" .Values.operator.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Of agent and operator. */}}
{{- define "sonde.image" -}}
{{- include "sonde.imageOf" (dict "root" . "image" .Values.image) -}}
{{- end -}}

{{/* root, image: one of the values' images. `global` belongs to the parent chart, which may set it to anything, null too. */}}
{{- define "sonde.imageOf" -}}
{{- $repository := .image.repository -}}
{{- $parts := splitList "/" $repository -}}
{{- if .image.registry -}}
{{- if and (gt (len $parts) 1) (or (contains "." (first $parts)) (contains ":" (first $parts)) (eq (first $parts) "localhost")) -}}
{{- $parts = rest $parts -}}
{{- end -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .image.registry) (join "/" $parts) -}}
{{- else -}}
{{- with (default dict .root.Values.global).imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}
{{- end -}}
{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Other charts write global.imagePullSecrets as names or as [{name: …}]; both are taken. */}}
{{- define "sonde.pullSecrets" -}}
{{- $secrets := list -}}
{{- range concat (default list (default dict .Values.global).imagePullSecrets) .Values.imagePullSecrets -}}
{{- $secrets = append $secrets (kindIs "string" . | ternary (dict "name" .) .) -}}
{{- end -}}
{{- with uniq $secrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "sonde.updateStrategy" -}}
{{- if .Values.agent.updateStrategy -}}
{{- $surge := dig "rollingUpdate" "maxSurge" 0 .Values.agent.updateStrategy | toString -}}
{{- if not (or .Values.agent.stateDirectory (has $surge (list "0" "0%"))) -}}
{{- fail "agent.updateStrategy.rollingUpdate.maxSurge needs agent.stateDirectory: without its lock two agents export the same series" -}}
{{- end -}}
{{- toYaml .Values.agent.updateStrategy -}}
{{- else if .Values.agent.stateDirectory -}}
type: RollingUpdate
rollingUpdate: {maxSurge: 10%, maxUnavailable: 0}
{{- else -}}
type: RollingUpdate
rollingUpdate: {maxSurge: 0, maxUnavailable: 10%}
{{- end -}}
{{- end -}}

{{/* A number, or a text like 10%. Helm reads the numbers of a values file as floating point, and prints 3000000 as 3e+06 (toYaml does not). */}}
{{- define "sonde.number" -}}
{{- kindIs "float64" . | ternary (int64 .) . -}}
{{- end -}}

{{/* The agent's configuration: what the user says, and over it what only the chart knows. */}}
{{- define "sonde.config" -}}
{{- $ours := dict
      "procRoot" "/host/proc"
      "stateDirectory" "/var/lib/sonde"
      "cgroupRoot" "/host/sys/fs/cgroup"
      "listen" (dict "http" (printf "[::]:%d" (int .Values.agent.port)))
      "kubernetes" (dict "policyCache" "/var/lib/sonde/policies.jsonl") -}}
{{- toYaml (mergeOverwrite (deepCopy .Values.config) $ours) -}}
{{- end -}}

{{/* What config.export.to names, as a list in YAML. */}}
{{- define "sonde.outputs" -}}
{{- $to := dig "export" "to" (list "otlp") .Values.config -}}
{{- range (kindIs "string" $to | ternary (splitList "," (toString $to)) $to) }}
- {{ trim . }}
{{- end -}}
{{- end -}}

{{- define "sonde.exports" -}}
{{- if has .output (include "sonde.outputs" .root | fromYamlArray) }}true{{ end -}}
{{- end -}}

{{/* Where agents send if the configuration says nothing. */}}
{{- define "sonde.endpoint" -}}
{{- $host := "$(HOST_IP)" -}}
{{- if .Values.collector.enabled -}}
{{- $host = printf "%s-collector.%s" (include "sonde.fullname" .) (include "sonde.namespace" .) -}}
{{- end -}}
{{- printf "http://%s:%d" $host (ternary 4318 4317 (eq (dig "export" "otlp" "protocol" "grpc" .Values.config) "http/protobuf")) -}}
{{- end -}}

{{/* The user's affinity; in each term of its node affinity, which are alternatives, also what keeps agents off unsupported nodes. */}}
{{- define "sonde.agentAffinity" -}}
{{- $affinity := deepCopy (default dict .Values.agent.affinity) -}}
{{- $others := default list .Values.agent.unsupportedNodes -}}
{{- if $others -}}
{{- $node := default dict $affinity.nodeAffinity -}}
{{- $required := default dict $node.requiredDuringSchedulingIgnoredDuringExecution -}}
{{- $terms := list -}}
{{- range default (list dict) $required.nodeSelectorTerms -}}
{{- $terms = append $terms (merge (dict "matchExpressions" (concat (default list .matchExpressions) $others)) .) -}}
{{- end -}}
{{- $_ := set $node "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms) -}}
{{- $_ := set $affinity "nodeAffinity" $node -}}
{{- end -}}
{{- with $affinity }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* Secrets for the OTLP receiver: env, mounts and volumes of the agent's pod. */}}
{{- define "sonde.secretEnv" -}}
{{- with .Values.agent.otlp.headers -}}
{{- if .existingSecret }}
- name: SONDE_OTLP_HEADERS
  valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: {{ .key }}}}
{{- end -}}
{{- end -}}
{{- with .Values.agent.otlp.tls -}}
{{- if .existingSecret -}}
{{- if ne (empty .certificate) (empty .key) -}}
{{- fail "agent.otlp.tls: a client certificate needs both `certificate` and `key`, the names of two keys of the Secret" -}}
{{- end -}}
{{- range $variable, $file := dict "CA" .ca "CERTIFICATE" .certificate "KEY" .key -}}
{{- if $file }}
- name: SONDE_OTLP_{{ $variable }}
  value: /etc/sonde-tls/{{ $file }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* monitor: values of a PodMonitor or ServiceMonitor; root; port; rest of the spec is the caller's. */}}
{{- define "sonde.monitorEndpoint" -}}
- port: {{ .port }}
  path: /metrics
  # The series say themselves which pod they are about.
  honorLabels: true
  {{- with .monitor.interval }}
  interval: {{ . }}
  {{- end }}
  {{- with .monitor.scrapeTimeout }}
  scrapeTimeout: {{ . }}
  {{- end }}
  {{- with .monitor.relabelings }}
  relabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .monitor.metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "sonde.monitorMetadata" -}}
namespace: {{ default (include "sonde.namespace" .root) .monitor.namespace }}
labels:
  {{- include "sonde.labels" . | nindent 2 }}
  {{- with .monitor.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .monitor.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "sonde.monitorSpec" -}}
namespaceSelector: {matchNames: [{{ include "sonde.namespace" .root }}]}
selector:
  matchLabels:
    {{- include "sonde.selector" . | nindent 4 }}
scrapeProtocols: [PrometheusProto, OpenMetricsText1.0.0, PrometheusText0.0.4]
{{- if .monitor.nativeHistograms }}
scrapeNativeHistograms: true
{{- end }}
{{- with .monitor.extraSpec }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What cannot be said in the schema: values that contradict each other. */}}
{{- define "sonde.check" -}}
{{- $prometheus := include "sonde.exports" (dict "root" . "output" "prometheus") -}}
{{- range $name := list "podMonitor" "serviceMonitor" -}}
{{- if and (index $.Values $name).enabled (not $prometheus) -}}
{{- fail (printf "%s.enabled needs prometheus in config.export.to, by which agents serve /metrics; to scrape the chart's Collector set collector.podMonitor.enabled" $name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled -}}
{{- fail "podMonitor.enabled and serviceMonitor.enabled: only one of them, or every series is scraped twice" -}}
{{- end -}}
{{- if .Values.collector.enabled -}}
{{- if dig "export" "otlp" "endpoint" "" .Values.config -}}
{{- fail "collector.enabled and config.export.otlp.endpoint: agents send to one receiver; leave the endpoint empty and set collector.otlphttp.endpoint to pass everything on" -}}
{{- end -}}
{{- if not (include "sonde.exports" (dict "root" . "output" "otlp")) -}}
{{- fail "collector.enabled needs otlp in config.export.to" -}}
{{- end -}}
{{- if not (dig "export" "promote" false .Values.config) -}}
{{- fail "collector.enabled needs config.export.promote: true, or the series on its port 8889 have no pod, namespace or node" -}}
{{- end -}}
{{- else if .Values.collector.podMonitor.enabled -}}
{{- fail "collector.podMonitor.enabled needs collector.enabled; for the agents there is podMonitor.enabled" -}}
{{- end -}}
{{- end -}}

{{/* The Collector's configuration, and over it what the user says. */}}
{{- define "sonde.collectorConfig" -}}
{{- $outputs := list "prometheus" -}}
{{- $exporters := dict "prometheus" (dict
      "endpoint" ":8889"
      "translation_strategy" "UnderscoreEscapingWithSuffixes"
      "without_scope_info" true
      "enable_open_metrics" true) -}}
{{- $pipelines := dict -}}
{{- if .Values.collector.otlphttp.endpoint -}}
{{- $outputs = append $outputs "otlp_http" -}}
{{- $to := pick .Values.collector.otlphttp "endpoint" -}}
{{- range $key := list "headers" "tls" -}}
{{- with index $.Values.collector.otlphttp $key }}{{ $_ := set $to $key . }}{{ end -}}
{{- end -}}
{{- $_ := set $exporters "otlp_http" $to -}}
{{- $_ := set $pipelines "traces" (dict "receivers" (list "otlp") "processors" (list "memory_limiter") "exporters" (list "otlp_http")) -}}
{{- end -}}
{{- $_ := set $pipelines "metrics" (dict "receivers" (list "otlp") "processors" (list "memory_limiter") "exporters" $outputs) -}}
{{- $ours := dict
      "extensions" (dict "health_check" (dict "endpoint" ":13133"))
      "receivers" (dict "otlp" (dict "protocols" (dict "grpc" (dict "endpoint" ":4317") "http" (dict "endpoint" ":4318"))))
      "processors" (dict "memory_limiter" (dict "check_interval" "1s" "limit_percentage" 80 "spike_limit_percentage" 20))
      "exporters" $exporters
      "service" (dict
        "extensions" (list "health_check")
        "telemetry" (dict "metrics" (dict "level" "none"))
        "pipelines" $pipelines) -}}
{{- toYaml (mergeOverwrite $ours (deepCopy .Values.collector.config)) -}}
{{- end -}}

{{/* Where the test reads: the Collector's port, the agents', or the API server. */}}
{{- define "sonde.testSource" -}}
{{- if .Values.collector.enabled -}}
{{- printf "http://%s-collector.%s:8889/metrics" (include "sonde.fullname" .) (include "sonde.namespace" .) -}}
{{- else if include "sonde.exports" (dict "root" . "output" "prometheus") -}}
{{- printf "http://%s-agent.%s:%d/metrics" (include "sonde.fullname" .) (include "sonde.namespace" .) (int .Values.agent.port) -}}
{{- else if and .Values.rbac.create (dig "kubernetes" "report" true .Values.config) -}}
SondeNode
{{- end -}}
{{- end -}}

{{/* . is the weight: lower ones come first. */}}
{{- define "sonde.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
