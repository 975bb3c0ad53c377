{{/* The operator's environment for scaling. */}}
{{- define "llmservice.scalingEnvironment" -}}
{{- $prometheus := .Values.scaling.prometheus -}}
- name: LLMSERVICE_SCALING_ADAPTER
  value: {{ .Values.scaling.adapter | quote }}
{{- if ne .Values.scaling.adapter "none" }}
- name: LLMSERVICE_SCALING_INTERVAL_SECONDS
  value: {{ .Values.scaling.intervalSeconds | quote }}
- name: LLMSERVICE_PROMETHEUS_URL
  value: {{ $prometheus.url | quote }}
{{- with $prometheus.proxy }}
- name: LLMSERVICE_PROMETHEUS_PROXY
  value: {{ . | quote }}
{{- end }}
- name: LLMSERVICE_PROMETHEUS_TIMEOUT_SECONDS
  value: {{ $prometheus.timeoutSeconds | quote }}
- name: LLMSERVICE_PROMETHEUS_WINDOW_SECONDS
  value: {{ $prometheus.windowSeconds | quote }}
- name: LLMSERVICE_PROMETHEUS_INSECURE
  value: {{ $prometheus.insecureSkipVerify | quote }}
- name: LLMSERVICE_PROMETHEUS_NAMESPACE_LABEL
  value: {{ $prometheus.labels.namespace | quote }}
- name: LLMSERVICE_PROMETHEUS_POD_LABEL
  value: {{ $prometheus.labels.pod | quote }}
{{- with $prometheus.matchers }}
- name: LLMSERVICE_PROMETHEUS_MATCHERS
  value: {{ . | quote }}
{{- end }}
{{- with $prometheus.headers }}
- name: LLMSERVICE_PROMETHEUS_HEADERS
  value: {{ toJson . | quote }}
{{- end }}
{{- if or $prometheus.caSecret.name $prometheus.caConfigMap.name }}
- name: LLMSERVICE_PROMETHEUS_CA_FILE
  value: /etc/llmservice/prometheus-ca/ca.crt
{{- end }}
{{- if $prometheus.tokenSecret.name }}
- name: LLMSERVICE_PROMETHEUS_TOKEN_FILE
  value: /etc/llmservice/prometheus-token/token
{{- end }}
{{- if $prometheus.basicAuthSecret }}
- name: LLMSERVICE_PROMETHEUS_USERNAME_FILE
  value: /etc/llmservice/prometheus-basic-auth/username
- name: LLMSERVICE_PROMETHEUS_PASSWORD_FILE
  value: /etc/llmservice/prometheus-basic-auth/password
{{- end }}
{{- if $prometheus.clientCertificateSecret }}
- name: LLMSERVICE_PROMETHEUS_CERT_FILE
  value: /etc/llmservice/prometheus-client/tls.crt
- name: LLMSERVICE_PROMETHEUS_KEY_FILE
  value: /etc/llmservice/prometheus-client/tls.key
{{- end }}
{{- end }}
{{- if eq .Values.scaling.adapter "keda" }}
{{- with .Values.scaling.keda.authentication }}
- name: LLMSERVICE_KEDA_AUTHENTICATION
  value: {{ . | quote }}
{{- end }}
{{- with .Values.scaling.keda.authModes }}
- name: LLMSERVICE_KEDA_AUTH_MODES
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- if eq .Values.scaling.adapter "own" }}
- name: LLMSERVICE_METRICS_API_PORT
  value: {{ .Values.ports.metricsAPI | quote }}
- name: LLMSERVICE_METRICS_API_SERVICE
  value: {{ include "llmservice.metricsAPIName" . }}
- name: LLMSERVICE_POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- if include "llmservice.readsEndpoints" . }}
- name: LLMSERVICE_METRICS_API_ENDPOINTS
  value: "true"
{{- end }}
{{- end }}
{{- end }}

{{/* Whether the API server reads Endpoints, not EndpointSlices, of the Service of an aggregated API: before 1.34. */}}
{{- define "llmservice.readsEndpoints" -}}
{{- if semverCompare "<1.34.0-0" .Capabilities.KubeVersion.Version }}true{{ end }}
{{- end }}

{{/* Volumes of what the operator logs in to Prometheus with: whole directories, so that a changed Secret reaches it. */}}
{{- define "llmservice.prometheusFiles" -}}
{{- $prometheus := .Values.scaling.prometheus -}}
{{- if ne .Values.scaling.adapter "none" }}
{{- with $prometheus.caSecret }}
{{- if .name }}
- name: prometheus-ca
  secret:
    secretName: {{ .name }}
    items: [{key: {{ .key }}, path: ca.crt}]
{{- end }}
{{- end }}
{{- with $prometheus.caConfigMap }}
{{- if .name }}
- name: prometheus-ca
  configMap:
    name: {{ .name }}
    items: [{key: {{ .key }}, path: ca.crt}]
{{- end }}
{{- end }}
{{- with $prometheus.tokenSecret }}
{{- if .name }}
- name: prometheus-token
  secret:
    secretName: {{ .name }}
    items: [{key: {{ .key }}, path: token}]
{{- end }}
{{- end }}
{{- with $prometheus.basicAuthSecret }}
- name: prometheus-basic-auth
  secret:
    secretName: {{ . }}
    items: [{key: username, path: username}, {key: password, path: password}]
{{- end }}
{{- with $prometheus.clientCertificateSecret }}
- name: prometheus-client
  secret:
    secretName: {{ . }}
    items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]
{{- end }}
{{- end }}
{{- end }}

{{/* Name of what belongs to the metrics API: its Service, and its rights. */}}
{{- define "llmservice.metricsAPIName" -}}
{{- printf "%s-metrics-api" (include "llmservice.fullname" . | trunc 51 | trimSuffix "-") }}
{{- end }}

{{/* The one object in the cluster that says who serves external.metrics.k8s.io. */}}
{{- define "llmservice.apiServiceName" -}}
v1beta1.external.metrics.k8s.io
{{- end }}
