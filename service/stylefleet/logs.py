"""Logs: JSON lines for machines, one event a line with its fields; plain text where a person watches a terminal."""

from __future__ import annotations

import logging
import sys

import structlog

from stylefleet.errors import printable

_bound: dict[str, object] = {}
"""What stands on every line of this process, whichever thread writes it; libraries start some of their own."""


def configure(**bound: object) -> None:
    """Log to stderr; `bound` fields stand on every line (run, shard, attempt)."""
    on_terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            _with_bound,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _printable,
            # A plain traceback: the default one shows the variables of every frame, credentials among them.
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
            if on_terminal
            else structlog.processors.format_exc_info,
            *([] if on_terminal else [structlog.processors.JSONRenderer(ensure_ascii=False)]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    bind(**bound)
    logging.basicConfig(level=logging.WARNING, handlers=[_OfLibraries()], force=True)


def bind(**bound: object) -> None:
    """Have these fields on every line from now on."""
    _bound.update(bound)


def _with_bound(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {**_bound, **event}


class _OfLibraries(logging.Handler):
    """What libraries log by Python's own means: else it would come as bare text between the lines."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"exc_info": record.exc_info} if record.exc_info else {}
        structlog.get_logger(record.name).log(
            record.levelno, "library_message", library=record.name, message=record.getMessage(), **fields
        )


def _printable(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Keys and messages may come from anybody: nothing in them reaches the terminal of who reads the log."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in event.items()}
