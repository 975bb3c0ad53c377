{{/* Name of the gateway's objects. */}}
{{- define "llmservice.gatewayName" -}}
{{- printf "%s-gateway" (include "llmservice.fullname" . | trunc 55 | trimSuffix "-") }}
{{- end }}

{{/* Name of the Service that has the addresses of its pods. */}}
{{- define "llmservice.gatewayPodsName" -}}
{{- printf "%s-gateway-pods" (include "llmservice.fullname" . | trunc 50 | trimSuffix "-") }}
{{- end }}

{{/* Labels that select the gateway's pods; they never change. */}}
{{- define "llmservice.gatewaySelectorLabels" -}}
app.kubernetes.io/name: {{ include "llmservice.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: gateway
{{- end }}

{{/* Labels of the gateway's objects. */}}
{{- define "llmservice.gatewayLabels" -}}
{{ include "llmservice.gatewaySelectorLabels" . }}
app.kubernetes.io/part-of: llmservice
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Peers that may connect to services as gateways, as YAML: those of the values, and the chart's own gateway. Without any client and
gateway everything may connect; then its own adds nothing. */}}
{{- define "llmservice.gatewayPeers" -}}
{{- $peers := .Values.networkPolicy.gateways }}
{{- if and (eq .Values.gateway.type "NGINX") (or $peers .Values.networkPolicy.clients) }}
{{- $namespace := dict "matchLabels" (dict "kubernetes.io/metadata.name" .Release.Namespace) }}
{{- $pods := dict "matchLabels" (include "llmservice.gatewaySelectorLabels" . | fromYaml) }}
{{- $peers = append $peers (dict "namespaceSelector" $namespace "podSelector" $pods) }}
{{- end }}
{{- toYaml $peers }}
{{- end }}

{{/* Whether services are attached to Gateways of the Gateway API: "true", or nothing. */}}
{{- define "llmservice.usesGatewayAPI" -}}
{{- if eq .Values.gateway.type "GatewayAPI" }}true{{ end }}
{{- end }}

{{/* What the operator reads of the values for the Gateway API, for LLMSERVICE_GATEWAY_API. */}}
{{- define "llmservice.gatewayAPISettings" -}}
{{ toJson (pick .Values.gateway "parentRefs" "hostnames" "domain" "requestTimeout" "endpointPicker") }}
{{- end }}

{{/* CEL: a reference to a Gateway as NAMESPACE/NAME/LISTENER/PORT; of its expression. */}}
{{- define "llmservice.gatewayRef" -}}
((has({{ . }}.namespace) ? {{ . }}.namespace : '') + '/' + {{ . }}.name + '/' + (has({{ . }}.sectionName) ? {{ . }}.sectionName : '') + '/' + (has({{ . }}.port) ? string({{ . }}.port) : ''))
{{- end }}

{{/* Host names with wildcards that cover a host name and everything below a domain; of the name, as a list in JSON. */}}
{{- define "llmservice.wildcardsOver" -}}
{{- $found := list }}
{{- $rest := splitList "." . }}
{{- range until (len $rest) }}
{{- $rest = rest $rest }}
{{- if $rest }}{{ $found = append $found (printf "*.%s" (join "." $rest)) }}{{ end }}
{{- end }}
{{- toJson $found }}
{{- end }}
