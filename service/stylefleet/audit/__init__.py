"""Prove a finished run from the bucket alone: what must be there, is; what is there, belongs there.

Only reading. Memory is that of the shards that are read at a time, and some bytes for each picture of the run.
"""

from stylefleet.audit.findings import CHECKS, Audit, Check, Remark
from stylefleet.audit.run import audit

__all__ = ["CHECKS", "Audit", "Check", "Remark", "audit"]
