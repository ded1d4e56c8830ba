{{/*
The Service of a component. A gRPC service is headless: behind one address a client would stay with one pod for as
long as its connection lives.
*/}}
{{- define "hero.service" -}}
{{- $values := include "hero.values" . | fromYaml -}}
{{- $facts := include "hero.facts" . | fromYaml -}}
{{- $ports := omit $facts.ports "admin" -}}
---
apiVersion: v1
kind: Service
{{ include "hero.metadata" . }}
  {{- with dig "service" "annotations" dict $values }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ dig "service" "type" "ClusterIP" $values }}
  {{- if hasKey $ports "grpc" }}
  clusterIP: None
  {{- end }}
  selector:
    {{- include "hero.selector" . | nindent 4 }}
  ports:
    {{- range $name, $port := $ports }}
    - name: {{ $name }}
      port: {{ dig "service" "port" $port $values | int64 }}
      targetPort: {{ $name }}
      appProtocol: {{ ternary "kubernetes.io/h2c" "http" (eq $name "grpc") }}
    {{- end }}
{{ end -}}
