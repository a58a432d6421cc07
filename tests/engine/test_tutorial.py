"""docs/tutorial.ipynb runs, and what a reader sees in it is what its cells give."""

from __future__ import annotations

import base64
import copy
import importlib.util
import io
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

DOCS = Path(__file__).parents[2] / "docs"
EDGE_PX_MAX = 300
LOSS_TOLERANCE = 0.1
"""Steps on another processor round otherwise, and end a little elsewhere."""
GRAY_TOLERANCE = 12
"""Mean difference of two pictures, of 255, for the same reason: strokes move, the picture stays."""
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_tutorial", DOCS / "run_tutorial.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def committed(script: ModuleType) -> Any:
    return script.read()


@pytest.fixture(scope="module")
def executed(script: ModuleType, committed: Any) -> Any:
    return script.executed(copy.deepcopy(committed))


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures_of(notebook: Any) -> Iterator[np.ndarray]:
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                with Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))) as picture:
                    yield np.asarray(picture.convert("RGB"), np.float32)


def printed(notebook: Any) -> list[str]:
    return [o.text for cell in code_cells(notebook) for o in cell.outputs if o.output_type == "stream"]


def test_every_cell_was_executed_in_order_and_without_complaint(committed: Any, executed: Any) -> None:
    for notebook in (committed, executed):
        cells = code_cells(notebook)
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        outputs = [output for cell in cells for output in cell.outputs]
        assert {o.output_type for o in outputs} == {"stream", "execute_result"}
        assert {o.name for o in outputs if o.output_type == "stream"} == {"stdout"}


def test_what_is_printed_is_what_is_committed(committed: Any, executed: Any) -> None:
    assert [NUMBER.sub("N", text) for text in printed(executed)] == [NUMBER.sub("N", t) for t in printed(committed)]
    for found, wanted in zip(printed(executed), printed(committed), strict=True):
        numbers = [[float(n) for n in NUMBER.findall(text)] for text in (found, wanted)]
        if "loss" in wanted:
            np.testing.assert_allclose(*numbers, rtol=LOSS_TOLERANCE, atol=2e-3)
        else:
            np.testing.assert_allclose(*numbers, rtol=1e-2, atol=2e-3)


def test_pictures_are_those_that_are_committed_and_small(committed: Any, executed: Any) -> None:
    pairs = list(zip(pictures_of(executed), pictures_of(committed), strict=True))
    assert len(pairs) >= 8
    for found, wanted in pairs:
        assert found.shape == wanted.shape
        assert max(found.shape) <= EDGE_PX_MAX
        assert np.abs(found - wanted).mean() <= GRAY_TOLERANCE


def test_it_claims_of_gram_matrices_and_blends_what_is_true(committed: Any, executed: Any) -> None:
    for notebook in (committed, executed):
        claims = [line for text in printed(notebook) for line in text.splitlines() if line.endswith(("True", "False"))]
        assert len(claims) == 3
        assert all(claim.endswith("True") for claim in claims)
