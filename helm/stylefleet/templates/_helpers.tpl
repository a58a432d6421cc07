{{/* RELEASE-stylefleet, or the release's name where it already says stylefleet. 52 characters leave room for suffixes. */}}
{{- define "stylefleet.fullname" -}}
{{- $name := printf "%s-%s" .Release.Name .Chart.Name -}}
{{- if contains .Chart.Name .Release.Name }}{{ $name = .Release.Name }}{{ end -}}
{{- default $name .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "stylefleet.controllerAccount" -}}
{{- if .Values.controller.serviceAccount.create -}}
{{- default (include "stylefleet.fullname" .) .Values.controller.serviceAccount.name -}}
{{- else -}}
{{- required "controller.serviceAccount.name is required where controller.serviceAccount.create is false" .Values.controller.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "stylefleet.workerAccount" -}}
{{- if .Values.worker.serviceAccount.create -}}
{{- default (printf "%s-worker" (include "stylefleet.fullname" .)) .Values.worker.serviceAccount.name -}}
{{- else -}}
{{- required "worker.serviceAccount.name is required where worker.serviceAccount.create is false" .Values.worker.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What selects pods; never changes within a release. Takes {root, component}. */}}
{{- define "stylefleet.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* An object's labels; the chart's own cannot be overridden. Takes {root, component} and perhaps extra. */}}
{{- define "stylefleet.labels" -}}
{{- $own := include "stylefleet.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version) -}}
{{- toYaml (merge $own (default (dict) .extra) .root.Values.commonLabels) -}}
{{- end -}}

{{/* REGISTRY/REPOSITORY:TAG or @DIGEST. Takes {root, image}. */}}
{{- define "stylefleet.image" -}}
{{- with .image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- .image.repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .root.Chart.AppVersion .image.tag }}{{ end -}}
{{- end -}}

{{/* A ServiceAccount's annotations: the cloud's, and the operator's own. Takes {root, account, who}. */}}
{{- define "stylefleet.accountAnnotations" -}}
{{- $kind := .root.Values.identity.kind -}}
{{- $key := get (dict "irsa" "eks.amazonaws.com/role-arn" "gke" "iam.gke.io/gcp-service-account" "azure" "azure.workload.identity/client-id") $kind -}}
{{- $annotations := dict -}}
{{- if $key -}}
{{- $_ := set $annotations $key (required (printf "identity.controller is required with identity.kind %s" $kind) .who) -}}
{{- end -}}
{{- with merge $annotations .account.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
{{- end }}
{{- end -}}

{{/* Namespaces of tenants beside the release's own, each with the identity of its workers: a JSON object. */}}
{{- define "stylefleet.tenantNamespaces" -}}
{{- $namespaces := dict -}}
{{- range .Values.tenants -}}
{{- if and .namespace (ne .namespace $.Release.Namespace) -}}
{{- $identity := default "" .workerIdentity -}}
{{- if ne $identity (dig .namespace $identity $namespaces) -}}
{{- fail (printf "tenants of the namespace %s have one ServiceAccount, but two workerIdentity" .namespace) -}}
{{- end -}}
{{- $_ := set $namespaces .namespace $identity -}}
{{- else if .workerIdentity -}}
{{- fail (printf "tenant %s: workerIdentity needs a namespace of its own" .name) -}}
{{- end -}}
{{- end -}}
{{- toJson $namespaces -}}
{{- end -}}

{{/* What the controller may do where Jobs are; a test derives these verbs from the requests that it makes. */}}
{{- define "stylefleet.jobRules" -}}
- apiGroups: [batch]
  resources: [jobs]
  verbs: [create, delete, get, list, patch]
# Why a worker waits: its pod says so, or an event of the Job where no pod can be made.
- apiGroups: [""]
  resources: [pods, events]
  verbs: [list]
{{- if .Values.worker.readWorkloads }}
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [list]
{{- end }}
{{- end -}}

{{/* What ends Jobs may do. */}}
{{- define "stylefleet.retireRules" -}}
- apiGroups: [batch]
  resources: [jobs]
  verbs: [delete, get, list, patch]
{{- end -}}

{{/* What selects worker pods, which the controller makes; in every namespace. */}}
{{- define "stylefleet.workerSelector" -}}
app.kubernetes.io/managed-by: stylefleet
stylefleet.dev/bucket: {{ .Values.storage.bucket | quote }}
{{- end -}}

{{/* The workers' NetworkPolicy; see networkpolicies.yaml. */}}
{{- define "stylefleet.workerPolicy" -}}
podSelector:
  matchLabels: {{- include "stylefleet.workerSelector" . | nindent 4 }}
policyTypes: [Ingress, Egress]
{{- with .Values.networkPolicy.metricsFrom }}
ingress:
  - from: {{- toYaml . | nindent 6 }}
    ports:
      - {protocol: TCP, port: metrics}
{{- else }}
ingress: []
{{- end }}
egress:
  {{- include "stylefleet.egress" . | nindent 2 }}
  {{- with .Values.tracing.endpoint }}
  - to: {{- include "stylefleet.peers" (list "0.0.0.0/0" "::/0") | trim | nindent 6 }}
    ports: {{- include "stylefleet.ports" (list (int (include "stylefleet.port" .))) | trim | nindent 6 }}
  {{- end }}
{{- end -}}

{{/* What the restricted Pod Security Standard asks of a pod, and of a container. Not to be overridden. */}}
{{- define "stylefleet.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end -}}
{{- define "stylefleet.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* STYLEFLEET_WORKER_POD: what the controller copies into worker pods. */}}
{{- define "stylefleet.workerPod" -}}
{{- $worker := .Values.worker -}}
{{- $selector := dict -}}
{{- $tolerations := $worker.tolerations -}}
{{- if eq $worker.spot "eks" -}}
{{- $_ := set $selector "eks.amazonaws.com/capacityType" "SPOT" -}}
{{- else if eq $worker.spot "karpenter" -}}
{{- $_ := set $selector "karpenter.sh/capacity-type" "spot" -}}
{{- else if eq $worker.spot "gke" -}}
{{- $_ := set $selector "cloud.google.com/gke-spot" "true" -}}
{{- $tolerations = append $tolerations (dict "key" "cloud.google.com/gke-spot" "operator" "Equal" "value" "true" "effect" "NoSchedule") -}}
{{- else if eq $worker.spot "aks" -}}
{{- $_ := set $selector "kubernetes.azure.com/scalesetpriority" "spot" -}}
{{- $tolerations = append $tolerations (dict "key" "kubernetes.azure.com/scalesetpriority" "operator" "Equal" "value" "spot" "effect" "NoSchedule") -}}
{{- end -}}
{{- $labels := merge (dict) $worker.labels .Values.commonLabels -}}
{{- if eq .Values.identity.kind "azure" }}{{ $_ := set $labels "azure.workload.identity/use" "true" }}{{ end -}}
{{- $claim := "" -}}
{{- if eq $worker.weights.from "claim" -}}
{{- $claim = required "worker.weights.claim is required with worker.weights.from claim" $worker.weights.claim -}}
{{- end -}}
{{- $pod := dict "imagePullPolicy" $worker.image.pullPolicy -}}
{{- range $name, $value := dict
  "nodeSelector" (merge $selector $worker.nodeSelector)
  "tolerations" $tolerations
  "runtimeClassName" $worker.runtimeClassName
  "priorityClassName" $worker.priorityClassName
  "imagePullSecrets" .Values.imagePullSecrets
  "labels" $labels
  "annotations" $worker.annotations
  "queue" $worker.queue
  "weightsClaim" $claim }}
{{- if $value }}{{ $_ := set $pod $name $value }}{{ end -}}
{{- end -}}
{{- toJson $pod -}}
{{- end -}}

{{/* The controller's environment; hooks run with the same. */}}
{{- define "stylefleet.environment" -}}
{{- $values := .Values -}}
{{- $weights := $values.worker.weights -}}
{{- $uri := "" -}}
{{- if eq $weights.from "s3" -}}
{{- $uri = required "worker.weights.uri is required with worker.weights.from s3" $weights.uri -}}
{{- else if eq $weights.from "claim" -}}
{{- $uri = printf "/weights/%s" $weights.file -}}
{{- end -}}
- name: STYLEFLEET_BUCKET
  value: {{ required "storage.bucket is required: the bucket in which manifests, plans and receipts are kept, such as --set storage.bucket=shop-stylefleet" $values.storage.bucket | quote }}
{{- with $values.storage.endpoint }}
- name: STYLEFLEET_S3_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- with $values.storage.region }}
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- with $values.storage.allowed }}
{{- if $values.tenants }}{{ fail "storage.allowed and tenants cannot both be set: each tenant has its own folders" }}{{ end }}
- name: STYLEFLEET_ALLOWED
  value: {{ join " " . | quote }}
{{- end }}
{{- with $values.tenants }}
{{- $records := list }}
{{- range . }}{{ $records = append $records (omit . "workerIdentity") }}{{ end }}
- name: STYLEFLEET_TENANTS
  value: {{ toJson $records | quote }}
{{- end }}
- name: STYLEFLEET_NAMESPACE
  valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}
- name: STYLEFLEET_IDENTITY
  valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.name}}
- name: STYLEFLEET_LEASE
  value: {{ include "stylefleet.fullname" . | quote }}
- name: STYLEFLEET_HTTP_PORT
  value: "8080"
- name: STYLEFLEET_POLL_SECONDS
  value: {{ $values.controller.pollSeconds | quote }}
{{- with $values.notifications.queueUrl }}
- name: STYLEFLEET_NOTIFICATIONS
  value: {{ . | quote }}
{{- end }}
{{- with $values.controller.parallelismMax }}
- name: STYLEFLEET_PARALLELISM_MAX
  value: {{ . | quote }}
{{- end }}
{{- with $values.tracing.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- if ne (toString $values.cost.pricePerGpuHour) "" }}
- name: STYLEFLEET_PRICE_PER_GPU_HOUR
  value: {{ $values.cost.pricePerGpuHour | quote }}
- name: STYLEFLEET_CURRENCY
  value: {{ $values.cost.currency | quote }}
{{- end }}
- name: STYLEFLEET_SHARD_SECONDS
  value: {{ $values.controller.shardSeconds | quote }}
- name: STYLEFLEET_WORKER_GFLOPS
  value: {{ $values.controller.workerGflops | quote }}
- name: STYLEFLEET_WORKER_IMAGE
  value: {{ include "stylefleet.image" (dict "root" . "image" $values.worker.image) | quote }}
- name: STYLEFLEET_WORKER_SERVICE_ACCOUNT
  value: {{ include "stylefleet.workerAccount" . | quote }}
{{- with $values.storage.existingSecret }}
- name: STYLEFLEET_WORKER_SECRET
  value: {{ . | quote }}
{{- end }}
- name: STYLEFLEET_GPU_RESOURCE
  value: {{ $values.worker.gpuResource | quote }}
- name: STYLEFLEET_WORKER_CPU
  value: {{ $values.worker.resources.cpu | quote }}
- name: STYLEFLEET_WORKER_MEMORY
  value: {{ $values.worker.resources.memory | quote }}
- name: STYLEFLEET_WORKER_SCRATCH
  value: {{ $values.worker.scratch.sizeLimit | quote }}
- name: STYLEFLEET_WORKER_POD
  value: {{ include "stylefleet.workerPod" . | quote }}
{{- with $uri }}
- name: STYLEFLEET_VGG19_WEIGHTS
  value: {{ . | quote }}
- name: STYLEFLEET_VGG19_SHA256
  value: {{ required (printf "worker.weights.sha256 is required with worker.weights.from %s" $weights.from) $weights.sha256 | quote }}
{{- end }}
{{- end -}}

{{/* The one container of the controller's and the hooks' pods, but for probes and ports. */}}
{{- define "stylefleet.container" -}}
image: {{ include "stylefleet.image" (dict "root" . "image" .Values.controller.image) | quote }}
imagePullPolicy: {{ .Values.controller.image.pullPolicy }}
env: {{- include "stylefleet.environment" . | nindent 2 }}
{{- with .Values.storage.existingSecret }}
envFrom:
  - secretRef: {name: {{ . | quote }}}
{{- end }}
securityContext: {{- include "stylefleet.containerSecurity" . | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - {name: tmp, mountPath: /tmp}
{{- end -}}

{{/* What all pods of that container have in common, but for their ServiceAccount. */}}
{{- define "stylefleet.pod" -}}
automountServiceAccountToken: true
enableServiceLinks: false
securityContext: {{- include "stylefleet.podSecurity" . | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.controller.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.controller.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 2Gi}
{{- end -}}

{{/* Labels of a pod that uses the controller's identity. Takes {root, component}. */}}
{{- define "stylefleet.podLabels" -}}
{{- $extra := merge (dict) .root.Values.controller.podLabels -}}
{{- if eq .root.Values.identity.kind "azure" }}{{ $_ := set $extra "azure.workload.identity/use" "true" }}{{ end -}}
{{- include "stylefleet.labels" (dict "root" .root "component" .component "extra" $extra) -}}
{{- end -}}

{{/* NetworkPolicy peers of a list of CIDRs, without the link-local addresses where nodes hand out their credentials. */}}
{{- define "stylefleet.peers" -}}
{{- range . }}
- ipBlock:
    cidr: {{ . | quote }}
    {{- if eq . "0.0.0.0/0" }}
    except: [169.254.0.0/16]
    {{- else if eq . "::/0" }}
    except: ["fe80::/10", "fd00:ec2::254/128"]
    {{- end }}
{{- end }}
{{- end -}}

{{/* The port of a URL. */}}
{{- define "stylefleet.port" -}}
{{- $authority := regexReplaceAll "^https?://([^/]*).*$" . "${1}" -}}
{{- default (ternary "80" "443" (hasPrefix "http://" .)) (regexFind ":[0-9]+$" $authority | trimPrefix ":") -}}
{{- end -}}

{{- define "stylefleet.ports" -}}
{{- range . }}
- {protocol: TCP, port: {{ . }}}
{{- end }}
{{- end -}}

{{/* Egress of everybody: DNS, S3, and what the identity needs. */}}
{{- define "stylefleet.egress" -}}
{{- $policy := .Values.networkPolicy -}}
{{- $endpoint := .Values.storage.endpoint -}}
{{- $ports := $policy.s3Ports -}}
{{- if not $ports -}}
{{- $ports = list (int (include "stylefleet.port" $endpoint)) -}}
{{- end -}}
{{- if has .Values.identity.kind (list "irsa" "azure") }}{{ $ports = append $ports 443 | uniq }}{{ end -}}
- to: {{- toYaml $policy.dns | nindent 4 }}
  ports:
    {{- range $policy.dnsPorts }}
    - {protocol: UDP, port: {{ . }}}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
- to: {{- include "stylefleet.peers" $policy.s3Cidrs | trim | nindent 4 }}
  ports: {{- include "stylefleet.ports" $ports | trim | nindent 4 }}
{{- if eq .Values.identity.kind "podIdentity" }}
# EKS Pod Identity's agent on the node.
- to:
    - ipBlock: {cidr: 169.254.170.23/32}
    - ipBlock: {cidr: "fd00:ec2::23/128"}
  ports:
    - {protocol: TCP, port: 80}
{{- else if eq .Values.identity.kind "gke" }}
# GKE's own metadata server, which hands out the workload's identity and not the node's.
- to:
    - ipBlock: {cidr: 169.254.169.252/32}
  ports:
    - {protocol: TCP, port: 988}
- to:
    - ipBlock: {cidr: 169.254.169.254/32}
  ports:
    - {protocol: TCP, port: 80}
{{- end }}
{{- with $policy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}
