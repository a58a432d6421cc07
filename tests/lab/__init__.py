"""A real single-node Kubernetes for tests, on a bare machine without registry or cluster; see README.md here."""

from .cluster import LabStatus
from .errors import LabError
from .lab import Lab

__all__ = ["Lab", "LabError", "LabStatus"]
