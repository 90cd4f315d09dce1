{{/* The release's name for its objects, within the 52 characters a StatefulSet's pods leave. */}}
{{- define "fal-log-bridge.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{/* What the pods of a release have in common: the bridge's and that of `helm test`. */}}
{{- define "fal-log-bridge.releaseLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* What only the bridge's pod has. */}}
{{- define "fal-log-bridge.selectorLabels" -}}
{{ include "fal-log-bridge.releaseLabels" . }}
app.kubernetes.io/component: bridge
{{- end }}

{{- define "fal-log-bridge.labels" -}}
{{ include "fal-log-bridge.releaseLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "fal-log-bridge.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "fal-log-bridge.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "fal-log-bridge.configMapName" -}}
{{- default (include "fal-log-bridge.fullname" .) .Values.existingConfigMap -}}
{{- end }}

{{/* The claim of a volume that is not the StatefulSet's own. */}}
{{- define "fal-log-bridge.claimName" -}}
{{- default (printf "%s-journal" (include "fal-log-bridge.fullname" .)) .Values.persistence.existingClaim -}}
{{- end }}

{{- define "fal-log-bridge.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Where the admin server listens, and its port. */}}
{{- define "fal-log-bridge.adminListen" -}}
{{- dig "listen" "0.0.0.0:9846" (.Values.config.admin | default dict) -}}
{{- end }}
{{- define "fal-log-bridge.adminPort" -}}
{{- regexFind "[0-9]+$" (include "fal-log-bridge.adminListen" .) -}}
{{- end }}

{{/* A changed config starts the pod anew. One that is not of this chart cannot be watched. */}}
{{- define "fal-log-bridge.configAnnotations" -}}
{{- if not .Values.existingConfigMap -}}
checksum/config: {{ toYaml .Values.config | sha256sum }}
{{- end -}}
{{- end }}

{{- define "fal-log-bridge.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.fsGroup }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* The container, whatever command it runs: it passes the restricted Pod Security Standard. */}}
{{- define "fal-log-bridge.container" -}}
image: {{ include "fal-log-bridge.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
  seccompProfile:
    type: RuntimeDefault
env:
  - name: BRIDGE_CONFIG
    value: /etc/fal-log-bridge/config.yaml
  - name: BRIDGE_ADMIN__LISTEN
    value: {{ include "fal-log-bridge.adminListen" . | quote }}
  {{- with .Values.fal }}
  {{- if .existingSecret }}
  - name: FAL_KEY
    valueFrom:
      secretKeyRef:
        name: {{ .existingSecret }}
        key: {{ .secretKey }}
  {{- end }}
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: bridge-config
    mountPath: /etc/fal-log-bridge
    readOnly: true
  - name: bridge-journal
    mountPath: /var/lib/fal-log-bridge
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* The admin server, and what the kubelet asks of it. A large journal takes a while to open. */}}
{{- define "fal-log-bridge.admin" -}}
ports:
  - name: bridge-admin
    containerPort: {{ include "fal-log-bridge.adminPort" . }}
startupProbe:
  httpGet:
    path: /livez
    port: bridge-admin
  periodSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /livez
    port: bridge-admin
  periodSeconds: 20
  timeoutSeconds: 5
{{- end }}

{{- define "fal-log-bridge.configVolume" -}}
- name: bridge-config
  configMap:
    name: {{ include "fal-log-bridge.configMapName" . }}
{{- end }}

{{/* The journal, where a claim of that name does not come with the pod. */}}
{{- define "fal-log-bridge.journalVolume" -}}
- name: bridge-journal
  {{- if .Values.persistence.enabled }}
  persistentVolumeClaim:
    claimName: {{ include "fal-log-bridge.claimName" . }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ .Values.persistence.size }}
  {{- end }}
{{- end }}

{{- define "fal-log-bridge.claimSpec" -}}
accessModes: [ReadWriteOnce]
{{- with .Values.persistence }}
{{- if .storageClass }}
storageClassName: {{ ternary "" .storageClass (eq .storageClass "-") | quote }}
{{- end }}
resources:
  requests:
    storage: {{ .size }}
{{- end }}
{{- end }}
