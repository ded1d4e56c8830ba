{{/* The template of a component's pods. Takes ctx and component. */}}
{{- define "hero.pod" -}}
{{- $values := include "hero.values" . | fromYaml -}}
{{- $facts := include "hero.facts" . | fromYaml -}}
{{- $root := .ctx.Values -}}
metadata:
  labels:
    {{- include "hero.labels" . | nindent 4 }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ include "hero.configFile" . | sha256sum }}
    {{- if and $facts.auth $root.auth.enabled (not $root.auth.existingSecret) }}
    checksum/auth: {{ toJson $root.auth.keys | sha256sum }}
    {{- end }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "hero.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds | int64 }}
  {{- if or (eq $facts.service "runner") (eq $facts.service "launcher") }}
  # What scripts leave behind is reaped by the pod's first process: the runner waits for its own children only.
  shareProcessNamespace: true
  {{- end }}
  {{- with $root.global.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    {{- toYaml $values.podSecurityContext | nindent 4 }}
  containers:
    - name: {{ $facts.service }}
      image: {{ include "hero.image" (dict "ctx" .ctx "name" ($values.image | default $facts.service) "digest" $values.digest) }}
      imagePullPolicy: {{ $root.image.pullPolicy }}
      args: ["--config", "/etc/hero/config/config.toml"]
      ports:
        {{- range $name, $port := $facts.ports }}
        - {name: {{ $name }}, containerPort: {{ $port }}}
        {{- end }}
        {{- if and (eq .component "explorer") $values.tcp.enabled }}
        - {name: nodes, containerPort: {{ $values.tcp.port | int64 }}}
        {{- end }}
      {{- with $values.env }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      startupProbe:
        httpGet: {path: /livez, port: admin}
        {{- toYaml $values.probes.startup | nindent 8 }}
      livenessProbe:
        httpGet: {path: /livez, port: admin}
        {{- toYaml $values.probes.liveness | nindent 8 }}
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        {{- toYaml $values.probes.readiness | nindent 8 }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        {{- toYaml $values.securityContext | nindent 8 }}
      volumeMounts:
        - {name: config, mountPath: /etc/hero/config, readOnly: true}
        - {name: tmp, mountPath: /tmp}
        {{- if $facts.redis }}
        - {name: redis, mountPath: /etc/hero/redis, readOnly: true}
        {{- end }}
        {{- if and $facts.auth $root.auth.enabled }}
        - {name: auth, mountPath: /etc/hero/auth, readOnly: true}
        {{- end }}
        {{- if $facts.internal }}
        - {name: internal, mountPath: /etc/hero/internal, readOnly: true}
        {{- end }}
        {{- if eq .component "msgbus-relay" }}
        - {name: msgbus, mountPath: /etc/hero/msgbus, readOnly: true}
        {{- end }}
        {{- with $values.volumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "hero.name" . }}
    - name: tmp
      emptyDir: {sizeLimit: {{ $values.tmpSize }}}
    {{- if $facts.redis }}
    - name: redis
      secret:
        secretName: {{ include "hero.redisSecret" .ctx }}
        defaultMode: 0440
        items:
          - {key: {{ include "hero.redisSecretKey" (dict "ctx" .ctx "service" $facts.service) }}, path: url}
    {{- end }}
    {{- if and $facts.auth $root.auth.enabled }}
    - name: auth
      secret:
        secretName: {{ include "hero.authSecret" .ctx }}
        defaultMode: 0440
        items:
          {{- range $scope, $key := include "hero.authKeys" .ctx | fromYaml }}
          - {key: {{ $key }}, path: {{ $scope }}}
          {{- end }}
    {{- end }}
    {{- if $facts.internal }}
    - name: internal
      secret:
        secretName: {{ include "hero.internalSecret" .ctx }}
        defaultMode: 0440
    {{- end }}
    {{- if eq .component "msgbus-relay" }}
    - name: msgbus
      secret:
        secretName: {{ $values.existingSecret }}
        defaultMode: 0440
    {{- end }}
    {{- with $values.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    -
      {{- toYaml . | nindent 6 }}
      {{- if not .labelSelector }}
      labelSelector:
        matchLabels:
          {{- include "hero.selector" $ | nindent 10 }}
      {{- end }}
    {{- end }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
