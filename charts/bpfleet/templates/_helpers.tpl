{{/* Labels of every object; the argument is a list of the root context and the component. */}}
{{- define "bpfleet.labels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: bpfleet
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- end }}
