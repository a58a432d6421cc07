"""Stylefleet restyles whole image catalogs on Kubernetes.

jobs/*.yaml --parse--> Manifest --plan--> Plan, shards --> Indexed Job --> worker pods
worker: shard --> fetch --> batch of like sizes --> engine.optimize --> result --> receipt
observe (Job status + receipts) --> reconcile --> [Action] --> act --> status, metrics

For programs: `Client` and `StyleJob` submit to a service and wait, `stylefleet.engine.stylize` restyles one picture on
this machine; see docs/python.md.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_MODULE_BY_NAME = {
    "Client": "stylefleet.client",
    "ManifestInvalid": "stylefleet.errors",
    "Phase": "stylefleet.status",
    "Status": "stylefleet.status",
    "StyleJob": "stylefleet.style_job",
    "StylefleetError": "stylefleet.errors",
}
"""Imported when first asked for: an S3 client takes half a second, and `import stylefleet` next to nothing."""

__all__ = ["Client", "ManifestInvalid", "Phase", "Status", "StyleJob", "StylefleetError", "__version__"]


def __getattr__(name: str) -> object:
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module 'stylefleet' has no attribute {name!r}")
    found: object = getattr(importlib.import_module(_MODULE_BY_NAME[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_BY_NAME})
