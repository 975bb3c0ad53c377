{{/* CEL: whether a name is in a list of names and beginnings ("team-*"); of (dict NAME ENTRIES RESERVED). A reserved
beginning is allowed by its whole name alone. Entries hold no character that CEL or JSON would read otherwise. */}}
{{- define "llmservice.listed" -}}
{{- $prefixes := list }}
{{- range .entries }}
{{- if hasSuffix "*" . }}
{{- $prefixes = append $prefixes (trimSuffix "*" .) }}
{{- end }}
{{- end -}}
({{ .name }} in {{ toJson .entries }}
{{- if $prefixes }} || ({{ toJson $prefixes }}.exists(p, {{ .name }}.startsWith(p))
{{- with .reserved }} && !{{ toJson . }}.exists(r, {{ $.name }}.startsWith(r)){{ end }})
{{- end }})
{{- end }}

{{/* Lists of a message for people; of a list. */}}
{{- define "llmservice.allowedText" -}}
{{- if . }}allowed are {{ join ", " . }}{{ else }}none is allowed{{ end }}
{{- end }}

{{/* The user that the operator is for the API server, as CEL. */}}
{{- define "llmservice.isOperator" -}}
request.userInfo.username == 'system:serviceaccount:{{ .Release.Namespace }}:{{ include "llmservice.serviceAccountName" . }}'
{{- end }}

{{/* What services may add to their pods, for LLMSERVICE_ALLOWED_POD. */}}
{{- define "llmservice.allowedPod" -}}
{{ toJson (pick .Values.allowed "podLabels" "podAnnotations" "images" "imagesByDigestOnly" "imagePullSecrets" "devices") }}
{{- end }}

{{/* Which placements the operator lets pass, for LLMSERVICE_ALLOWED_PLACEMENT. */}}
{{- define "llmservice.allowedPlacement" -}}
{{ toJson (pick .Values.allowed "tolerations" "nodeSelectorKeys" "priorityClassNames" "runtimeClassNames" "schedulerNames") }}
{{- end }}

{{/* Whether the nested map "part" has no key that "whole" lacks; at "depth" levels both are equal. In CEL. */}}
{{- define "llmservice.isPartOf" -}}
{{- if eq (int .depth) 0 -}}
{{ .part }} == {{ .whole }}
{{- else -}}
{{- $key := printf "k%d" (int .depth) -}}
{{ .part }}.all({{ $key }}, {{ $key }} in {{ .whole }} && {{ include "llmservice.isPartOf" (dict "part" (printf "%s[%s]" .part $key) "whole" (printf "%s[%s]" .whole $key) "depth" (sub .depth 1)) }})
{{- end -}}
{{- end -}}
