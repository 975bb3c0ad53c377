{{/* Name of the chart, for labels. */}}
{{- define "llmservice.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Name of every object. */}}
{{- define "llmservice.fullname" -}}
{{- $name := include "llmservice.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Labels that select the operator's pods; they never change. */}}
{{- define "llmservice.selectorLabels" -}}
app.kubernetes.io/name: {{ include "llmservice.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end }}

{{/* Labels of the operator's pods: an upgrade that changes nothing else restarts none. */}}
{{- define "llmservice.podLabels" -}}
{{ include "llmservice.selectorLabels" . }}
app.kubernetes.io/part-of: llmservice
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- with .Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "llmservice.labels" -}}
{{ include "llmservice.selectorLabels" . }}
app.kubernetes.io/part-of: llmservice
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "llmservice.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "llmservice.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Whether pods have the user of the images: "true", or nothing if the cluster chooses each namespace's user. */}}
{{- define "llmservice.fixedUser" -}}
{{- $openshift := .Capabilities.APIVersions.Has "security.openshift.io/v1" }}
{{- if or (eq .Values.fixedUser "Always") (and (eq .Values.fixedUser "Auto") (not $openshift)) }}true{{ end }}
{{- end }}

{{/* Volumes of files that the operator reads. */}}
{{- define "llmservice.files" -}}
{{- include "llmservice.prometheusFiles" . }}
{{- with .Values.runtime.caBundle }}
{{- if .configMap }}
- name: runtime-ca
  configMap:
    name: {{ .configMap }}
    items: [{key: {{ .key }}, path: ca.crt}]
{{- else if .secret }}
- name: runtime-ca
  secret:
    secretName: {{ .secret }}
    items: [{key: {{ .key }}, path: ca.crt}]
{{- end }}
{{- end }}
{{- end }}

{{/* An image's full name, of (list ROOT IMAGE). */}}
{{- define "llmservice.image" -}}
{{- $root := index . 0 }}
{{- $image := index . 1 }}
{{- with default $root.Values.imageRegistry $image.registry }}{{ printf "%s/" (trimSuffix "/" .) }}{{ end }}
{{- $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default $root.Chart.AppVersion $image.tag }}{{ end }}
{{- end }}

{{/* Whether the models of the starter catalogue are made. Helm can't make objects of a kind whose CRD the same release installs. */}}
{{- define "llmservice.hasCatalogue" -}}
{{- if and .Values.catalogue.enabled (.Capabilities.APIVersions.Has "llmservice.dev/v1alpha1/ClusterLLMModel") -}}true{{- end }}
{{- end }}
