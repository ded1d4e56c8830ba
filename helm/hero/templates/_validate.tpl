{{/* What a schema cannot say: values that exclude each other. Each refusal says what to do. */}}
{{- define "hero.validate" -}}
{{- $redis := .Values.redis -}}
{{- $ways := 0 -}}
{{- if $redis.bundled.enabled -}}{{- $ways = add1 $ways -}}{{- end -}}
{{- if $redis.url -}}{{- $ways = add1 $ways -}}{{- end -}}
{{- if $redis.existingSecret -}}{{- $ways = add1 $ways -}}{{- end -}}
{{- if ne (int $ways) 1 -}}
{{- fail "name one Redis: redis.bundled.enabled, redis.url or redis.existingSecret (with an outside one set redis.bundled.enabled=false)" -}}
{{- end -}}
{{- if contains "@" $redis.url -}}
{{- fail "redis.url has a password in it: put the address into a secret, and name that as redis.existingSecret" -}}
{{- end -}}
{{- if .Values.launcher.enabled -}}
{{- range $section := list "gateway" "supervisor" "explorer" "myceliumBridge" "msgbusRelay" "runner" -}}
{{- if (get $.Values $section).enabled -}}
{{- fail (printf "launcher.enabled is everything in one process: set %s.enabled=false" $section) -}}
{{- end -}}
{{- end -}}
{{- else if and .Values.gateway.enabled (not .Values.supervisor.enabled) -}}
{{- fail "a gateway needs supervisors: set supervisor.enabled=true, or gateway.enabled=false" -}}
{{- end -}}
{{- range $component := include "hero.components" . | fromYamlArray -}}
{{- $args := dict "ctx" $ "component" $component -}}
{{- $values := include "hero.values" $args | fromYaml -}}
{{- $keda := dig "keda" "enabled" false $values -}}
{{- if and $keda $values.autoscaling.enabled -}}
{{- fail (printf "%s: autoscaling and keda exclude each other, turn one off" $component) -}}
{{- end -}}
{{- if and $keda $redis.existingSecret (not $redis.keda.address) -}}
{{- fail "KEDA cannot read the address of Redis from a URL in a secret: set redis.keda.address to host:port" -}}
{{- end -}}
{{- $least := div (add $values.drain.delayMs $values.drain.graceMs 5000) 1000 -}}
{{- if lt (int64 $values.terminationGracePeriodSeconds) (int64 $least) -}}
{{- fail (printf "%s: terminationGracePeriodSeconds must be at least %d: drain.delayMs, drain.graceMs, and 5 s to flush" $component $least) -}}
{{- end -}}
{{- if and (hasPrefix "runner-" $component) (not $values.scriptTypes) -}}
{{- fail (printf "runner.pools.%s: name its scriptTypes, for example [OSIS]" (trimPrefix "runner-" $component)) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.myceliumBridge.enabled (not .Values.myceliumBridge.myceliumUrl) -}}
{{- fail "myceliumBridge needs the daemon's address: set myceliumBridge.myceliumUrl" -}}
{{- end -}}
{{- if .Values.msgbusRelay.enabled -}}
{{- if not (and .Values.msgbusRelay.existingSecret .Values.msgbusRelay.twin .Values.msgbusRelay.substrate) -}}
{{- fail "msgbusRelay needs twin, substrate, and existingSecret with the key mnemonics" -}}
{{- end -}}
{{- $relay := include "hero.values" (dict "ctx" $ "component" "msgbus-relay") | fromYaml -}}
{{- if or (gt (int64 $relay.replicas) 1) $relay.autoscaling.enabled -}}
{{- fail "there is one relay for each Redis: leave msgbusRelay at one pod, unscaled" -}}
{{- end -}}
{{- end -}}
{{- end -}}
