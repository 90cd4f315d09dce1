{{/*
The ports of every address in the config, and of those in extraEnv that say where to send or by
which proxy; 443 is always among them.
*/}}
{{- define "fal-log-bridge.egressPorts" -}}
{{- $addresses := dict -}}
{{- with (.Values.config.fal | default dict).base_url -}}
{{- $_ := set $addresses "config.fal.base_url" . -}}
{{- end -}}
{{- with (.Values.config.telemetry | default dict).endpoint -}}
{{- $_ := set $addresses "config.telemetry.endpoint" . -}}
{{- end -}}
{{- range $at, $destination := .Values.config.destinations -}}
{{- range $field := list "endpoint" "logs_endpoint" -}}
{{- with get $destination $field -}}
{{- $_ := set $addresses (printf "config.destinations[%d].%s" $at $field) . -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $at, $variable := .Values.extraEnv -}}
{{- if and $variable.value (regexMatch "^(OTEL_EXPORTER_OTLP_(LOGS_)?ENDPOINT|BRIDGE_TELEMETRY__ENDPOINT|BRIDGE_FAL__BASE_URL|(?i:https?|all)_(?i:proxy))$" $variable.name) -}}
{{- $_ := set $addresses (printf "extraEnv[%d]" $at) $variable.value -}}
{{- end -}}
{{- end -}}
{{- $usual := dict "http" "80" "https" "443" "udp" "514" "tls" "6514" -}}
{{- $ports := list "TCP 443" -}}
{{- range $place, $address := $addresses -}}
{{- $scheme := regexFind "^[A-Za-z]+://" $address | trimSuffix "://" | lower | default "https" -}}
{{- $host := regexReplaceAll "^[A-Za-z]+://" $address "" | regexFind "^[^/?#]*" -}}
{{- $port := regexFind ":[0-9]+$" $host | trimPrefix ":" | default (get $usual $scheme) -}}
{{- if or (not $port) (regexMatch "\\$\\{[^}]*\\}$" $host) -}}
{{- if not $.Values.networkPolicy.extraEgress -}}
{{- fail (printf "%s: its port is not known before the bridge runs; let networkPolicy.extraEgress allow the way to it" $place) -}}
{{- end -}}
{{- else -}}
{{- $ports = append $ports (printf "%s %s" (ternary "UDP" "TCP" (eq $scheme "udp")) $port) -}}
{{- end -}}
{{- end -}}
{{- range $ports | uniq | sortAlpha }}
{{- $parts := splitList " " . }}
- port: {{ index $parts 1 }}
  protocol: {{ index $parts 0 }}
{{- end }}
{{- end }}
