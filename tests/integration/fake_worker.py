"""A worker for the tests of the local cluster: what it does stands in the file FOLDER/plan.json.

`{"0": ["exit 0"], "1": ["exit 1", "sigterm", "exit 0"], "2": ["wait"]}`: for each index what its first, second, ...
attempt does; the last word holds for all further ones; `exit 42 no bucket` logs that error first.
Each attempt leaves a file FOLDER/starts/INDEX-ATTEMPT, and one that waits FOLDER/told-INDEX when it is told to end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> int:
    folder = Path(sys.argv[1])
    assert sys.argv[2:] == ["worker"]
    index = os.environ["JOB_COMPLETION_INDEX"]
    starts = folder / "starts"
    before = len(list(starts.glob(f"{index}-*")))
    names = ("BUCKET", "NAME", "RUN", "METRICS_HOST", "METRICS_PORT")
    facts = {n: os.environ.get(n) for n in ("HOME", "SECRET", *(f"STYLEFLEET_{name}" for name in names))}
    mark = starts / f"{index}-{os.environ['STYLEFLEET_ATTEMPT']}"
    partial = starts / f"partial-{os.getpid()}"
    partial.write_text(json.dumps(facts | {"pid": os.getpid()}))
    partial.rename(mark)
    words = json.loads((folder / "plan.json").read_text()).get(index, ["exit 0"])
    word = words[min(before, len(words) - 1)]
    if word == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    if word == "wait":
        signal.signal(signal.SIGTERM, lambda *_: ((folder / f"told-{index}").touch(), sys.exit(143)))
        while not (folder / f"go-{index}").exists():
            time.sleep(0.01)
        return 0
    if word == "sigterm":
        os.kill(os.getpid(), signal.SIGTERM)
    code, _, last_words = word.removeprefix("exit ").partition(" ")
    if last_words:
        print(json.dumps({"event": "worker_failed", "error": last_words}), file=sys.stderr)
    return int(code)


sys.exit(main())
