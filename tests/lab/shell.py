"""Running other programs: one way, with the reason of a failure in the error."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import LabError
from .settings import SYSTEM_PATH

TAIL_CHARS = 3000


def say(text: str) -> None:
    """Tell the person at the terminal what happens; standard output is kept for answers."""
    print(text, file=sys.stderr, flush=True)


def find_tool(name: str) -> str | None:
    """The full path of a program; the system folders count even if the user's PATH lacks them."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), SYSTEM_PATH]))


def require_root(what: str) -> None:
    """Namespaces, mounts and container storage need root; say so before half of it is done."""
    if os.geteuid() != 0:
        raise LabError(f"{what} must run as root (namespaces, mounts and cgroups): use a test machine of your own")


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    input_text: str | None = None,
    timeout_seconds: float = 60,
    show: bool = False,
) -> str:
    """Run a program to its end and give its standard output; `show` sends what it prints to the terminal instead."""
    command = [str(part) for part in argv]
    program = find_tool(command[0])
    if program is None:
        raise LabError(f"{command[0]} is not installed: run `python -m tests.lab build` as root, or install it")
    stream = sys.stderr if show else subprocess.PIPE
    search = os.pathsep.join([os.environ.get("PATH", ""), SYSTEM_PATH])  # for programs that this program runs
    try:
        done = subprocess.run(
            [program, *command[1:]],
            env={**(os.environ if env is None else env), "PATH": search},
            cwd=cwd,
            input=input_text,
            stdin=subprocess.DEVNULL if input_text is None else None,
            stdout=stream,
            stderr=stream,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"no end after {timeout_seconds:g} s: {shlex.join(command)}") from error
    if done.returncode != 0:
        said = "" if show else f"\n{(done.stdout + done.stderr)[-TAIL_CHARS:].strip()}"
        raise LabError(f"exit code {done.returncode}: {shlex.join(command)}{said}")
    return done.stdout or ""
