"""Pictures in rows with a label each, as one picture. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP_PX = 20
TITLE_PX = 22
LABEL_PX = 15
LINE_PX = 21
ABOVE_TITLE_PX = 6
_PAPER, _INK, _MUTED = "#f7f6f2", "#1c1e23", "#666a73"
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """One picture of the sheet."""

    pixels: np.ndarray
    """uint8 [H, W, 3]."""
    title: str
    """A few letters, such as its number."""
    lines: tuple[str, ...]
    """What is written below."""


def draw(rows: Sequence[Sequence[Labelled]]) -> np.ndarray:
    """The sheet, uint8 [H, W, 3]: columns as wide as the widest picture or word, each row as high as its highest."""
    fonts = ImageFont.load_default(TITLE_PX), ImageFont.load_default(LABEL_PX)
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    wide = max(_width_px(cell, pen, fonts) for row in rows for cell in row)
    high = [max(_height_px(cell) for cell in row) for row in rows]
    columns = max(map(len, rows))
    sheet = Image.new("RGB", (columns * (wide + GAP_PX) + GAP_PX, sum(high) + GAP_PX * (len(rows) + 1)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    top = GAP_PX
    for row, row_px in zip(rows, high, strict=True):
        for column, cell in enumerate(row):
            left, below = GAP_PX + column * (wide + GAP_PX), top + cell.pixels.shape[0] + ABOVE_TITLE_PX
            sheet.paste(Image.fromarray(cell.pixels), (left, top))
            pen.text((left, below), cell.title, fill=_INK, font=fonts[0])
            for number, line in enumerate(cell.lines):
                pen.text((left, below + TITLE_PX + 6 + LINE_PX * number), line, fill=_MUTED, font=fonts[1])
        top += row_px + GAP_PX
    return np.asarray(sheet)


def _width_px(cell: Labelled, pen: ImageDraw.ImageDraw, fonts: tuple[Font, Font]) -> int:
    words = [(cell.title, fonts[0]), *((line, fonts[1]) for line in cell.lines)]
    return max(int(cell.pixels.shape[1]), *(math.ceil(pen.textlength(text, font=font)) for text, font in words))


def _height_px(cell: Labelled) -> int:
    return int(cell.pixels.shape[0]) + ABOVE_TITLE_PX + TITLE_PX + 6 + LINE_PX * len(cell.lines)
