"""The command line in this process, on a store in memory: what is typed, and what comes back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from stylefleet.cli import bucket as buckets
from stylefleet.cli import main as command_line
from stylefleet.store import Store


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str


Type = Callable[..., Answer]


def typing_for(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, bucket: str = "service"
) -> Type:
    """A way to type commands: `type("status", "spring")`. Nobody sits before a terminal, which is 80 columns wide."""
    monkeypatch.setattr(buckets, "open_store", lambda *_: store)
    monkeypatch.setattr(command_line.signal, "signal", lambda *_: None)
    monkeypatch.setenv("STYLEFLEET_BUCKET", bucket)
    for name in ("STYLEFLEET_S3_ENDPOINT", "AWS_REGION", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def typed(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["stylefleet", *arguments])
        capsys.readouterr()
        try:
            command_line.main()
        except SystemExit as end:
            code = int(end.code or 0)
        else:
            code = 0
        told = capsys.readouterr()
        return Answer(code=code, out=told.out, err=told.err)

    return typed
