{{/* Name of the objects of files and batches. */}}
{{- define "llmservice.batchesName" -}}
{{- printf "%s-batches" (include "llmservice.fullname" . | trunc 45 | trimSuffix "-") }}
{{- end }}

{{/* Labels that select the pod of files and batches; they never change. */}}
{{- define "llmservice.batchesSelectorLabels" -}}
app.kubernetes.io/name: {{ include "llmservice.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: batches
{{- end }}

{{/* Labels of its objects. */}}
{{- define "llmservice.batchesLabels" -}}
{{ include "llmservice.batchesSelectorLabels" . }}
app.kubernetes.io/part-of: llmservice
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}
