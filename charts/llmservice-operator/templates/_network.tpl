{{/* Whose pods may read metrics, as YAML: peers of a NetworkPolicy. */}}
{{- define "llmservice.prometheusPeers" -}}
{{- if .Values.networkPolicy.prometheus }}
{{- toYaml .Values.networkPolicy.prometheus }}
{{- else }}
{{- $namespaces := list "monitoring" }}
{{- $parts := regexReplaceAll ":[0-9]+$" (get (urlParse .Values.scaling.prometheus.url) "host") "" | splitList "." }}
{{- if or (eq (len $parts) 2) (and (gt (len $parts) 2) (eq (index (append (append $parts "") "") 2) "svc")) }}
{{- $namespaces = append $namespaces (index $parts 1) | uniq }}
{{- end }}
- namespaceSelector:
    matchExpressions:
      - {key: kubernetes.io/metadata.name, operator: In, values: [{{ join ", " $namespaces }}]}
{{- end }}
{{- end }}

{{/* The operator's settings for the network, as JSON. */}}
{{- define "llmservice.networkSettings" -}}
{{- $given := .Values.networkPolicy }}
{{- $settings := dict "clients" $given.clients "gateways" (include "llmservice.gatewayPeers" . | fromYamlArray) }}
{{- $_ := set $settings "prometheus" (include "llmservice.prometheusPeers" . | fromYamlArray) }}
{{- $_ := set $settings "pods" $given.egress.pods }}
{{- $_ := set $settings "except" $given.egress.except }}
{{- $_ := set $settings "apiServer" $given.apiServer }}
{{- toJson $settings }}
{{- end }}
