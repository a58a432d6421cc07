"""Executes docs/tutorial.ipynb and keeps its outputs: `python docs/run_tutorial.py`, below a minute on 2 cores."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

DOCS = Path(__file__).parent
PATH = DOCS / "tutorial.ipynb"
CELL_SECONDS_MAX = 300


def read() -> Any:
    """The notebook as it is committed."""
    return nbformat.read(PATH, as_version=4)


def executed(notebook: Any) -> Any:
    """The notebook with the outputs of this machine; raises CellExecutionError where a cell fails."""
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            # By files, and not by ports that others on this machine could reach.
            config=Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}}),
            timeout=CELL_SECONDS_MAX,
            startup_timeout=CELL_SECONDS_MAX,
            resources={"metadata": {"path": str(DOCS)}},
            record_timing=False,
            coalesce_streams=True,
        )
        client.execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop("image/jpeg", None)  # beside the same picture as PNG
    # Which Python it was changes nothing that a reader sees.
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


if __name__ == "__main__":
    nbformat.write(executed(read()), PATH)
