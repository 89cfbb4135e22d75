{{- /* leaves 18 characters of 63 for what is added to it */ -}}
{{- define "rerank.name" -}}
{{- $name := contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) }}
{{- $name | trunc 45 | trimSuffix "-" }}
{{- end }}

{{- define "rerank.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "rerank.labels" -}}
{{ include "rerank.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: {{ .Chart.Name }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "rerank.image" -}}
{{- $repository := required "image.repository: say where you pushed the image; none is published" .Values.image.repository }}
{{- with .Values.image.digest }}{{ $repository }}@{{ . }}{{ else }}{{ $repository }}:{{ .Values.image.tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "rerank.claim" -}}
{{ .Values.weights.claim | default (printf "%s-weights" (include "rerank.name" .)) }}
{{- end }}

{{- /* the image's user; fsGroup makes volumes its own */ -}}
{{- define "rerank.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.user }}
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
{{- end }}
# a large volume is not gone through at every start
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "rerank.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* what the Job and the servers have in common */ -}}
{{- define "rerank.configMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .Values.models.file }}
- {name: models-file, mountPath: /etc/rerank/models, readOnly: true}
{{- end }}
{{- end }}

{{- define "rerank.configVolumes" -}}
- {name: tmp, emptyDir: {sizeLimit: 1Gi}}
{{- if .Values.models.file }}
- name: models-file
  configMap:
    name: {{ include "rerank.name" . | quote }}
    items: [{key: models.toml, path: models.toml}]
{{- end }}
{{- end }}

{{- define "rerank.placement" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}

{{- /* settings that the chart decides; those of `settings` are other ones */ -}}
{{- define "rerank.environment" -}}
- {name: RERANK_HOST, value: 0.0.0.0}
- {name: RERANK_PORT, value: "8000"}
- {name: RERANK_MODEL_DEVICE, value: {{ .Values.device | quote }}}
- {name: RERANK_DRAIN_TIMEOUT, value: {{ .Values.shutdown.drainSeconds | quote }}}
- {name: RERANK_DOWNLOADS, value: {{ .Values.weights.onRequest | quote }}}
{{- with .Values.models.default }}
- {name: RERANK_DEFAULT_MODEL, value: {{ . | quote }}}
{{- end }}
{{- with .Values.models.preload }}
- {name: RERANK_PRELOAD, value: {{ join "," . | quote }}}
{{- end }}
{{- if .Values.models.file }}
- {name: RERANK_MODELS_FILE, value: /etc/rerank/models/models.toml}
{{- end }}
{{- with .Values.weights.hub }}
- {name: RERANK_HF_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- if .Values.monitoring.openMetrics }}
- {name: RERANK_OPEN_METRICS, value: "true"}
{{- end }}
{{- with .Values.auth }}
{{- if and .secret .apiKey }}
- name: RERANK_API_KEY
  valueFrom: {secretKeyRef: {name: {{ .secret | quote }}, key: {{ .apiKey | quote }}}}
{{- end }}
{{- if and .secret .adminKey }}
- name: RERANK_ADMIN_KEY
  valueFrom: {secretKeyRef: {name: {{ .secret | quote }}, key: {{ .adminKey | quote }}}}
{{- end }}
{{- if and .secret .keysFile }}
- {name: RERANK_KEYS_FILE, value: /etc/rerank/keys/keys.toml}
{{- end }}
{{- end }}
{{- with .Values.redis }}
{{- if .secret }}
- name: RERANK_STATE_URL
  valueFrom: {secretKeyRef: {name: {{ .secret | quote }}, key: {{ .item | quote }}}}
{{- end }}
{{- end }}
{{- range $name, $value := .Values.settings }}
- {name: {{ $name | quote }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- /* what would fail in the cluster, or open it */ -}}
{{- define "rerank.check" -}}
{{- $v := .Values }}
{{- if and (not $v.auth.secret) (not $v.auth.open) }}
{{- fail "auth.secret: name the Secret with the keys, or set auth.open=true to let everyone in who can connect" }}
{{- end }}
{{- if and $v.auth.secret $v.auth.open }}
{{- fail "auth.open: it contradicts auth.secret" }}
{{- end }}
{{- if and $v.auth.secret (not $v.auth.apiKey) (not $v.auth.keysFile) }}
{{- fail "auth.apiKey, auth.keysFile: name an item of the Secret with keys of callers" }}
{{- end }}
{{- if and $v.auth.open $v.monitoring.secret }}
{{- fail "monitoring.secret: a server without keys checks none" }}
{{- end }}
{{- if and $v.weights.enabled (ne $v.weights.accessMode "ReadWriteMany") (or (gt (int $v.replicas) 1) (ne $v.autoscaling.kind "none")) }}
{{- fail (printf "weights.accessMode: pods on several nodes cannot share a volume with %s; set replicas=1 and autoscaling.kind=none, or ReadWriteMany" $v.weights.accessMode) }}
{{- end }}
{{- if and $v.weights.readOnly (ne $v.weights.onRequest "off") }}
{{- fail "weights.readOnly: requests cannot download into it; set weights.onRequest=off" }}
{{- end }}
{{- if and $v.networkPolicy.enabled (ne $v.weights.onRequest "off") (not $v.networkPolicy.serversMayLeave) }}
{{- fail "weights.onRequest: the network policy keeps servers from the Hub; set networkPolicy.serversMayLeave=true" }}
{{- end }}
{{- if and $v.networkPolicy.enabled $v.redis.secret (not $v.networkPolicy.egress) }}
{{- fail "networkPolicy.egress: no rule lets the servers reach Redis" }}
{{- end }}
{{- if and $v.weights.download (not $v.weights.enabled) }}
{{- fail "weights.download: there is no volume for it; set weights.enabled=true" }}
{{- end }}
{{- if and (eq $v.autoscaling.kind "hpa") (eq $v.device "cuda") }}
{{- fail "autoscaling.kind: the CPU's use says nothing of a GPU; use keda" }}
{{- end }}
{{- if and (eq $v.device "cuda") (not (index $v.resources.limits "nvidia.com/gpu")) }}
{{- fail "resources.limits: device=cuda needs a GPU; set nvidia.com/gpu" }}
{{- end }}
{{- if gt (int $v.autoscaling.min) (int $v.autoscaling.max) }}
{{- fail "autoscaling.min: it is more than autoscaling.max" }}
{{- end }}
{{- if and $v.monitoring.serviceMonitor (not $v.monitoring.openMetrics) (not $v.monitoring.secret) (not $v.auth.open) }}
{{- fail "monitoring.secret: Prometheus needs a key for /metrics; name its Secret, or set monitoring.openMetrics=true" }}
{{- end }}
{{- if and (eq $v.autoscaling.kind "keda") (not $v.monitoring.serviceMonitor) }}
{{- fail "autoscaling.kind: keda asks Prometheus for a metric of the servers; set monitoring.serviceMonitor=true" }}
{{- end }}
{{- end }}
