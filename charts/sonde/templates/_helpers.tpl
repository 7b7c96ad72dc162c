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

{{/* `global` belongs to the parent chart, which may set it to anything, null too. */}}
{{- define "sonde.image" -}}
{{- $repository := .Values.image.repository -}}
{{- with (default dict .Values.global).imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
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
