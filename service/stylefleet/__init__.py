"""Stylefleet restyles whole image catalogs on Kubernetes.

jobs/*.yaml --parse--> Manifest --plan--> Plan, shards --> Indexed Job --> worker pods
worker: shard --> fetch --> batch of like sizes --> engine.stylize --> result --> receipt
observe (Job status + receipts) --> reconcile --> [Action] --> act --> status, metrics
"""

__version__ = "0.1.0"
