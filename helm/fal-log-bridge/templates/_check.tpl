{{/* What the schema cannot say, or not in words that help. */}}
{{- define "fal-log-bridge.check" -}}
{{- if and .Chart.IsRoot (hasKey .Values "enabled") -}}
{{- fail "enabled: is for the condition of a parent chart, and says nothing here" -}}
{{- end -}}
{{- $config := .Values.config -}}
{{- $given := or $config.apps $config.destinations -}}
{{- if .Values.existingConfigMap -}}
{{- if $given -}}
{{- fail "config and existingConfigMap: give one of them; the bridge has one config file" -}}
{{- end -}}
{{- else -}}
{{- include "fal-log-bridge.checkConfig" . -}}
{{- end -}}
{{- include "fal-log-bridge.checkKey" . -}}
{{- include "fal-log-bridge.checkEnvironment" . -}}
{{- include "fal-log-bridge.checkAdmin" . -}}
{{- include "fal-log-bridge.checkSecrets" . -}}
{{- if .Values.sidecar.enabled -}}
{{- include "fal-log-bridge.checkSidecar" . -}}
{{- end -}}
{{- if and .Values.persistence.existingClaim (not .Values.persistence.enabled) -}}
{{- fail "persistence.existingClaim: is not used while persistence.enabled is false" -}}
{{- end -}}
{{- end }}

{{- define "fal-log-bridge.checkConfig" -}}
{{- $named := dict -}}
{{- range .Values.extraEnv -}}
{{- $_ := set $named .name true -}}
{{- end -}}
{{- if not (or .Values.config.apps $named.BRIDGE_APPS .Values.extraEnvFrom) -}}
{{- fail "config.apps: name at least one app, or give one with only a name for the whole account" -}}
{{- end -}}
{{- $otel := or $named.OTEL_EXPORTER_OTLP_ENDPOINT $named.OTEL_EXPORTER_OTLP_LOGS_ENDPOINT -}}
{{- if not (or .Values.config.destinations $otel $named.BRIDGE_DESTINATIONS .Values.extraEnvFrom) -}}
{{- fail "config.destinations: name at least one backend" -}}
{{- end -}}
{{- end }}

{{/* In the pod of another chart, what is about the pod or its Service is that chart's. */}}
{{- define "fal-log-bridge.checkSidecar" -}}
{{- range list "podAnnotations" "podLabels" "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" "imagePullSecrets" "initContainers" "extraContainers" -}}
{{- if get $.Values . -}}
{{- fail (printf "%s: the pod is the parent chart's while sidecar.enabled is true; say it there" .) -}}
{{- end -}}
{{- end -}}
{{- range list "networkPolicy" "serviceMonitor" -}}
{{- if (get $.Values .).enabled -}}
{{- fail (printf "%s.enabled: the pod is the parent chart's while sidecar.enabled is true; say it there" .) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The fal key comes from somewhere: what is in a map or a Secret of others is not seen here. */}}
{{- define "fal-log-bridge.checkKey" -}}
{{- $fal := .Values.config.fal | default dict -}}
{{- $named := dict -}}
{{- range .Values.extraEnv -}}
{{- $_ := set $named .name true -}}
{{- end -}}
{{- $ways := list .Values.fal.existingSecret $fal.key $fal.key_file $named.FAL_KEY $named.FAL_KEY_SECRET .Values.extraEnvFrom .Values.existingConfigMap -}}
{{- if not (compact $ways) -}}
{{- fail "fal.existingSecret: name the Secret that holds the fal key, or give the key as FAL_KEY by extraEnv or extraEnvFrom, or as a file by config.fal.key_file" -}}
{{- end -}}
{{- end }}

{{/* Variables that this chart sets, and those that are secret. */}}
{{- define "fal-log-bridge.checkEnvironment" -}}
{{- range $at, $variable := .Values.extraEnv -}}
{{- if eq $variable.name "BRIDGE_ADMIN__LISTEN" -}}
{{- fail (printf "extraEnv[%d]: set config.admin.listen in place of BRIDGE_ADMIN__LISTEN" $at) -}}
{{- end -}}
{{- if eq $variable.name "BRIDGE_CONFIG" -}}
{{- fail (printf "extraEnv[%d]: the config file is that of config or existingConfigMap; leave BRIDGE_CONFIG out" $at) -}}
{{- end -}}
{{- if and (eq $variable.name "FAL_KEY") $.Values.fal.existingSecret -}}
{{- fail (printf "extraEnv[%d]: FAL_KEY comes from the Secret of fal.existingSecret; give one of them" $at) -}}
{{- end -}}
{{- $secret := regexMatch "^(FAL_KEY|FAL_KEY_SECRET|BRIDGE_FAL__KEY|BRIDGE_ADMIN__TOKEN|BRIDGE_TELEMETRY__HEADERS|BRIDGE_DESTINATIONS|OTEL_EXPORTER_OTLP_([A-Z]+_)?HEADERS)$" $variable.name -}}
{{- /* By its name; what has a path or a switch for a value says where the secret is, or whether. */ -}}
{{- if regexMatch "(?i)(^|_)(token|secret|password|(api|access|secret|license|ingest|ingestion|auth|private)_?key)$" $variable.name -}}
{{- $secret = or $secret (not (regexMatch "^(/.*|true|false)$" ($variable.value | default ""))) -}}
{{- end -}}
{{- if regexMatch "(?i)(_proxy|_endpoint|_base_url)$" $variable.name -}}
{{- $secret = include "fal-log-bridge.hasSecret" ($variable.value | default "") -}}
{{- end -}}
{{- /* $(NAME) is another variable, which a Secret can give. */ -}}
{{- if and $secret $variable.value (not (regexMatch "\\$\\([A-Za-z_][A-Za-z0-9_.-]*\\)" $variable.value)) -}}
{{- fail (printf "extraEnv[%d]: %s is secret and does not belong into a manifest; take it from a Secret by valueFrom, or by extraEnvFrom" $at $variable.name) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "fal-log-bridge.checkAdmin" -}}
{{- $admin := .Values.config.admin | default dict -}}
{{- if not (dig "enabled" true $admin) -}}
{{- fail "config.admin.enabled: the probes ask the admin server; leave it on" -}}
{{- end -}}
{{- $listen := include "fal-log-bridge.adminListen" . -}}
{{- if not (regexMatch "^(0\\.0\\.0\\.0|\\[::\\]):[1-9][0-9]{0,4}$" $listen) -}}
{{- fail (printf "config.admin.listen: %s: the probes come from outside of the pod; give 0.0.0.0 or [::] and a port, such as 0.0.0.0:9846, or leave it out" $listen) -}}
{{- end -}}
{{- end }}

{{/* The config is a ConfigMap: what is secret in it stands there as a placeholder only. */}}
{{- define "fal-log-bridge.checkSecrets" -}}
{{- $config := .Values.config -}}
{{- $key := get ($config.fal | default dict) "key" -}}
{{- if and $key (not (include "fal-log-bridge.isPlaceholder" $key)) -}}
{{- fail "config.fal.key: a key does not belong into a ConfigMap; put it into the Secret of fal.existingSecret and leave this out" -}}
{{- end -}}
{{- $token := get ($config.admin | default dict) "token" -}}
{{- if and $token (not (include "fal-log-bridge.isPlaceholder" $token)) -}}
{{- fail "config.admin.token: a token does not belong into a ConfigMap; write ${env:NAME} and give NAME from a Secret by extraEnv or extraEnvFrom" -}}
{{- end -}}
{{- $places := dict "config.telemetry" ($config.telemetry | default dict) "config.fal" ($config.fal | default dict) -}}
{{- range $at, $destination := $config.destinations -}}
{{- $_ := set $places (printf "config.destinations[%d]" $at) $destination -}}
{{- end -}}
{{- range $place, $section := $places -}}
{{- range $header, $value := (get $section "headers" | default dict) -}}
{{- $harmless := regexMatch "(?i)^(x-scope-orgid|user-agent|x-aws-log-(group|stream)|stream-name|(.*-)?dataset|dd-otlp-source)$" $header -}}
{{- if not (or $harmless (include "fal-log-bridge.isPlaceholder" $value)) -}}
{{- fail (printf "%s.headers.%s: a credential does not belong into a ConfigMap; write ${env:NAME} and give NAME from a Secret by extraEnv or extraEnvFrom" $place $header) -}}
{{- end -}}
{{- end -}}
{{- range $field := list "endpoint" "logs_endpoint" "base_url" -}}
{{- if include "fal-log-bridge.hasSecret" (get $section $field | default "") -}}
{{- fail (printf "%s.%s: a password or key does not belong into a ConfigMap; write the whole address as ${env:NAME} and give NAME from a Secret by extraEnv or extraEnvFrom" $place $field) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Whether a value is placeholders without defaults, after a scheme such as Bearer at the most. */}}
{{- define "fal-log-bridge.isPlaceholder" -}}
{{- if regexMatch "^\\s*((?i:Bearer|Basic|ApiKey|Api-Token|Token|Splunk)\\s+)?(\\$\\{(env:[A-Za-z_][A-Za-z0-9_]*|file:[^}]+)\\}[:,]?)+\\s*$" (toString .) -}}
yes
{{- end -}}
{{- end }}

{{/* Whether an address carries a user, or in its query a key that is no placeholder. */}}
{{- define "fal-log-bridge.hasSecret" -}}
{{- $address := toString . -}}
{{- if regexMatch "^([A-Za-z+]+://)?[^/?#]*@" $address -}}
yes
{{- end -}}
{{- range regexFindAll "[?&][^=&#]+=[^&#]+" $address -1 -}}
{{- $name := regexFind "^[^=]+" . | trimAll "?&" -}}
{{- $named := regexMatch "(?i)^(key|sig|signature|(.*[-_])?(token|secret|password|api[-_]?key|access[-_]?key))$" $name -}}
{{- if and $named (not (include "fal-log-bridge.isPlaceholder" (regexReplaceAll "^[^=]+=" . ""))) -}}
yes
{{- end -}}
{{- end -}}
{{- end }}
