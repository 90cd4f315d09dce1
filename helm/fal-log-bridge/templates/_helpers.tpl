{{/* The release's name for its objects, within the 52 characters a StatefulSet's pods leave. */}}
{{- define "fal-log-bridge.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{- define "fal-log-bridge.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "fal-log-bridge.labels" -}}
{{ include "fal-log-bridge.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What the schema cannot say, or not in words that help. */}}
{{- define "fal-log-bridge.check" -}}
{{- if not .Values.fal.existingSecret }}
{{- fail "fal.existingSecret: name the Secret that holds the fal key" }}
{{- end }}
{{- if not .Values.config.apps }}
{{- fail "config.apps: name at least one app, or give one with only a name for the whole account" }}
{{- end }}
{{- if not .Values.config.destinations }}
{{- fail "config.destinations: name at least one backend" }}
{{- end }}
{{- $key := toString (dig "fal" "key" "${env:FAL_KEY}" .Values.config) }}
{{- if not (regexMatch "^\\$\\{(env|file):" $key) }}
{{- fail "config.fal.key: a key does not belong into a ConfigMap; put it into the Secret of fal.existingSecret and leave this out" }}
{{- end }}
{{- range $at, $destination := .Values.config.destinations }}
{{- range $header, $value := (get $destination "headers" | default dict) }}
{{- if and (regexMatch "(?i)auth|key|token|secret|password|cookie" $header) (not (regexMatch "\\$\\{(env|file):" (toString $value))) }}
{{- fail (printf "config.destinations[%d].headers.%s: a credential does not belong into a ConfigMap; write ${env:NAME} and give NAME from a Secret by env or envFrom" $at $header) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
