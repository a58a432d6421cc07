"""Values that turn everything on somewhere; every variant is checked by every judge."""

from __future__ import annotations

from tests.chart.conftest import Json

SHA256 = "ab" * 32
SPREAD = {"maxSkew": 2, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
TENANTS_ROLE = "arn:aws:iam::1:role/art"
TOLERATION = {"key": "art", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 60}

VARIANTS: dict[str, Json] = {
    "defaults": {"storage": {"bucket": "service"}},
    "everything": {
        "fullnameOverride": "art-stylefleet",
        "commonLabels": {"team": "art"},
        "imagePullSecrets": [{"name": "registry"}],
        "storage": {
            "bucket": "service",
            "endpoint": "http://minio.minio:9000",
            "region": "eu-west-1",
            "allowed": ["s3://shop/catalog/", "s3://shop/restyled/"],
            "existingSecret": "s3-keys",
        },
        "notifications": {"queueUrl": "http://elasticmq.art:9324/000000000000/stylefleet"},
        "controller": {
            "image": {"registry": "registry.example.com/art", "tag": "1.2.3", "pullPolicy": "Always"},
            "replicas": 3,
            "pollSeconds": 0.5,
            "parallelismMax": 300,
            "podDisruptionBudget": {"maxUnavailable": "50%"},
            "podLabels": {"team": "painters", "tier": "batch"},
            "podAnnotations": {"example.com/note": "yes"},
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "tolerations": [TOLERATION],
            "affinity": {"podAntiAffinity": {}},
            "topologySpreadConstraints": [SPREAD],
            "priorityClassName": "high",
        },
        "worker": {
            "image": {"registry": "localhost", "digest": f"sha256:{SHA256}", "pullPolicy": "Never"},
            "runtimeClassName": "nvidia",
            "priorityClassName": "low",
            "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L4"},
            "tolerations": [TOLERATION],
            "queue": "gpu",
            "readWorkloads": True,
            "labels": {"kueue.x-k8s.io/priority-class": "batch"},
            "annotations": {"karpenter.sh/do-not-disrupt": "true"},
        },
        "tracing": {"endpoint": "http://otel-collector.monitoring:4318"},
        "networkPolicy": {"extraEgress": [{"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]}]},
        "metrics": {
            "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}, "costBudgetPerDay": 120.5},
            "dashboard": {"enabled": True, "annotations": {"grafana_folder": "Stylefleet"}},
        },
        "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}}],
    },
    "irsa": {
        "storage": {"bucket": "service"},
        "identity": {"kind": "irsa", "controller": "arn:aws:iam::1:role/c", "worker": "arn:aws:iam::1:role/w"},
    },
    "podIdentity": {"storage": {"bucket": "service"}, "identity": {"kind": "podIdentity"}},
    "gke": {
        "storage": {"bucket": "service"},
        "identity": {"kind": "gke", "controller": "art@shop.iam.gserviceaccount.com"},
        "worker": {"spot": "gke"},
    },
    "azure": {
        "storage": {"bucket": "service"},
        "identity": {"kind": "azure", "controller": "0000-1111"},
        "worker": {"spot": "aks"},
    },
    "weights from a bucket": {
        "storage": {"bucket": "service"},
        "worker": {"weights": {"from": "s3", "uri": "s3://models/vgg19.h5", "sha256": SHA256}, "spot": "karpenter"},
    },
    "weights from a claim": {
        "storage": {"bucket": "service"},
        "worker": {"weights": {"from": "claim", "claim": "models", "sha256": SHA256}, "spot": "eks"},
    },
    "accounts of others": {
        "storage": {"bucket": "service"},
        "controller": {"serviceAccount": {"create": False, "name": "ours"}, "topologySpreadConstraints": []},
        "worker": {"serviceAccount": {"create": False, "name": "theirs"}},
    },
    "tenants": {
        "storage": {"bucket": "service", "existingSecret": "s3-keys"},
        "identity": {"kind": "irsa", "controller": "arn:aws:iam::1:role/c", "worker": "arn:aws:iam::1:role/w"},
        "tenants": [
            {"name": "toys", "allowed": ["s3://toys/"]},
            {"name": "art", "allowed": ["s3://shop/art/"], "namespace": "art-jobs", "workerIdentity": TENANTS_ROLE},
            {
                "name": "prints",
                "allowed": ["s3://shop/prints/"],
                "namespace": "art-jobs",
                "workerIdentity": TENANTS_ROLE,
            },
            {
                "name": "books",
                "allowed": ["s3://shop/books/"],
                "namespace": "books-jobs",
                "parallelismMax": 50,
                "weight": 2.5,
            },
        ],
    },
    "nothing more than needed": {
        "storage": {"bucket": "service"},
        "controller": {"replicas": 1, "podDisruptionBudget": {"enabled": False}},
        "networkPolicy": {"enabled": False},
    },
}
