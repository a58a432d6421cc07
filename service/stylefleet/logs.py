"""Logs: JSON lines for machines, one event a line with its fields; plain text where a person watches a terminal."""

from __future__ import annotations

import logging
import sys

import structlog


def configure(**bound: object) -> None:
    """Log to stderr; `bound` fields stand on every line (run, shard, attempt)."""
    on_terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if on_terminal else _json_exceptions,
            *([] if on_terminal else [structlog.processors.JSONRenderer(ensure_ascii=False)]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**bound)


_json_exceptions = structlog.processors.format_exc_info
