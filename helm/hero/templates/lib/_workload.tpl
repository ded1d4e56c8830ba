{{/* The Deployment of a component. Where something scales it, it has no replicas of its own. */}}
{{- define "hero.workload" -}}
{{- $values := include "hero.values" . | fromYaml -}}
---
apiVersion: apps/v1
kind: Deployment
{{ include "hero.metadata" . }}
spec:
  {{- if not (or $values.autoscaling.enabled (dig "keda" "enabled" false $values)) }}
  replicas: {{ $values.replicas | int64 }}
  {{- end }}
  revisionHistoryLimit: 3
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: {{ $values.rollingUpdate.maxUnavailable }}
      maxSurge: {{ $values.rollingUpdate.maxSurge }}
  selector:
    matchLabels:
      {{- include "hero.selector" . | nindent 6 }}
  template:
    {{- include "hero.pod" . | nindent 4 }}
{{ end -}}
