{{/* Scaling of a component on cpu. */}}
{{- define "hero.hpa" -}}
{{- $values := include "hero.values" . | fromYaml -}}
{{- with $values.autoscaling }}
{{- if .enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
{{ include "hero.metadata" $ }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "hero.name" $ }}
  minReplicas: {{ .min | int64 }}
  maxReplicas: {{ .max | int64 }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ .cpu | int64 }}}
  behavior:
    scaleDown: {stabilizationWindowSeconds: 300}
{{ end -}}
{{- end -}}
{{- end -}}
