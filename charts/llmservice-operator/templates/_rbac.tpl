{{/* What the operator does in the namespaces of services. A test compares it with what a full run uses,
another with the operator's table of kinds. */}}
{{- define "llmservice.serviceRules" -}}
- apiGroups: [llmservice.dev]
  resources: [llmservices]
  verbs: [get, list, watch, patch]
- apiGroups: [llmservice.dev]
  resources: [llmservices/status]
  verbs: [patch]
- apiGroups: [llmservice.dev]
  resources: [llmmodels]
  verbs: [get, list, watch]
{{- if .Values.rbac.ownerReferencesEnforcement }}
- apiGroups: [llmservice.dev]
  resources: [llmservices/finalizers]
  verbs: [update]
{{- end }}
{{ include "llmservice.childRules" . }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  {{- if eq .Values.networkPolicy.mode "Enabled" }}
  verbs: [get, list, watch, create, patch, delete]
  {{- else }}
  verbs: [get, list, watch, delete] # those made before are deleted
  {{- end }}
{{- if ne .Values.fit.policy "Off" }}
- apiGroups: [""]
  resources: [resourcequotas]
  verbs: [list]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [list, create]
{{- $adapter := .Values.scaling.adapter }}
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  {{- if has $adapter (list "own" "prometheusAdapter") }}
  verbs: [get, list, watch, create, patch, delete]
  {{- else if eq $adapter "keda" }}
  verbs: [get, list, watch, create, delete] # create: a dry run tells what autoscalers can do here
  {{- else }}
  verbs: [get, list, watch, delete] # those of an adapter of before go
  {{- end }}
{{- if has $adapter (list "own" "prometheusAdapter") }}
- apiGroups: [llmservice.dev]
  resources: [llmservices/scale]
  verbs: [patch]
{{- end }}
{{- if eq $adapter "keda" }}
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
{{- if include "llmservice.usesGatewayAPI" . }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [inference.networking.k8s.io]
  resources: [inferencepools]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
{{- end }}

{{/* Who it is that may. */}}
{{- define "llmservice.subjects" -}}
- kind: ServiceAccount
  name: {{ include "llmservice.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
