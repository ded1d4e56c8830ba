{{/* What selects a component's pods: these three, for ever. */}}
{{- define "hero.selector" -}}
app.kubernetes.io/name: {{ .ctx.Chart.Name }}
app.kubernetes.io/instance: {{ .ctx.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "hero.labels" -}}
{{ include "hero.selector" . }}
app.kubernetes.io/part-of: hero
app.kubernetes.io/version: {{ .ctx.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .ctx.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .ctx.Chart.Name .ctx.Chart.Version | replace "+" "_" }}
{{- with .ctx.Values.global.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Metadata of a resource: name and labels. */}}
{{- define "hero.metadata" -}}
metadata:
  name: {{ .name | default (include "hero.name" .) }}
  namespace: {{ .ctx.Release.Namespace }}
  labels:
    {{- include "hero.labels" . | nindent 4 }}
{{- end -}}
