{{/*
The bridge within a pod of another chart, which has this one as a dependency with
`sidecar.enabled: true`; docs/kubernetes.md shows how. Each takes this chart's own scope:

  {{- include "fal-log-bridge.sidecar" (index .Subcharts "fal-log-bridge") | nindent 8 }}

It has no readiness probe: a backend that is down is no reason to take the pod out of its service.
*/}}
{{- define "fal-log-bridge.sidecar" -}}
- name: fal-log-bridge
  {{- include "fal-log-bridge.container" . | nindent 2 }}
  {{- include "fal-log-bridge.admin" . | nindent 2 }}
{{- end }}

{{- define "fal-log-bridge.sidecarVolumes" -}}
{{ include "fal-log-bridge.configVolume" . }}
{{ include "fal-log-bridge.journalVolume" . }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* For the pod's annotations. */}}
{{- define "fal-log-bridge.sidecarAnnotations" -}}
{{ include "fal-log-bridge.configAnnotations" . }}
{{- end }}
