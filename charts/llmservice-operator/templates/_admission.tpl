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

{{/* Which placements the operator lets pass, for LLMSERVICE_ALLOWED_PLACEMENT. */}}
{{- define "llmservice.allowedPlacement" -}}
{{ toJson (pick .Values.allowed "tolerations" "nodeSelectorKeys" "priorityClassNames" "runtimeClassNames" "schedulerNames") }}
{{- end }}
