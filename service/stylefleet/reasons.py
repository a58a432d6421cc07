"""Why pictures fail: the words of receipts, reports and metrics, by whose fault it is."""

from __future__ import annotations

REFUSED = (
    "empty",
    "unsupported_format",
    "unsupported_mode",
    "undecodable",
    "truncated",
    "too_small",
    "too_many_pixels",
    "too_many_bytes",
    "content_missing",
    "content_changed",
    "mask_invalid",
    "mask_missing",
    "mask_changed",
    "start_invalid",
    "start_missing",
    "start_changed",
    "style_invalid",
)
"""The picture's, its companion's or its style's, or of whoever deletes or replaces these meanwhile."""
BROKEN = (
    "killed_worker",
    "diverged",
    "weights_invalid",
    "content_unreadable",
    "mask_unreadable",
    "start_unreadable",
)
"""The service's, or of those who run it."""
REASONS = (*REFUSED, *BROKEN)
