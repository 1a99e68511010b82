"""Pictures in rows and columns that say what they show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

WIDTH = 1024  # pixels that a sheet is at most wide, as a report's column
SMALLEST, LARGEST = 64, 144  # pixels, height of one picture on a sheet
GAP = 2
APART = 8  # pixels between the first row or column and the others, where they are set apart
FONT_SIZE = 13


def upright_pixels(images: Tensor) -> Tensor:
    """Slices as they are looked at: their first axis from left to right, the second from bottom to top.

    An axial slice in RAS has the patient's front at the top and left at the left, as in the views of a report.

    Args:
        images: (N, 1, H, W) in [-1, 1]; what lies outside is clamped.
    Returns:
        (N, W, H) uint8 on the CPU.
    """
    pixels = ((images.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return pixels[:, 0].rot90(1, (1, 2))


def labelled_grid(
    images: Tensor, rows: Sequence[str], columns: Sequence[str], first_apart: bool = False
) -> Tensor:
    """Tile slices under headings, enlarged so that the sheet can be read.

    Args:
        images: (rows · columns, 1, H, W) in [-1, 1], row by row.
        rows: text before each row.
        columns: text above each column.
        first_apart: a wider gap after the first row and the first column.
    Returns:
        (1, height, width) uint8.
    """
    font = ImageFont.load_default(FONT_SIZE)
    left = 8 + max(round(font.getlength(text)) for text in rows)
    top = FONT_SIZE + 8
    available = WIDTH - left - APART * first_apart
    pixels = upright_pixels(images)
    height = cell_height(pixels.shape[-2], pixels.shape[-1], len(columns), available)
    width = round(height * pixels.shape[-1] / pixels.shape[-2])
    across = [left + n * (width + GAP) + APART * (first_apart and n > 0) for n in range(len(columns) + 1)]
    down = [top + n * (height + GAP) + APART * (first_apart and n > 0) for n in range(len(rows) + 1)]
    sheet = Image.new("L", (across[-1] - GAP, down[-1] - GAP), 255)
    draw = ImageDraw.Draw(sheet)
    for text, y in zip(rows, down, strict=False):
        draw.text((left - 6, y + height // 2), text, fill=0, font=font, anchor="rm")
    for text, x in zip(columns, across, strict=False):
        draw.text((x + width // 2, top - 5), text, fill=0, font=font, anchor="ms")
    for n, picture in enumerate(pixels):
        enlarged = Image.fromarray(picture.numpy()).resize((width, height), Image.Resampling.BICUBIC)
        sheet.paste(enlarged, (across[n % len(columns)], down[n // len(columns)]))
    return torch.from_numpy(np.array(sheet))[None]


def cell_height(height: int, width: int, columns: int, available: int) -> int:
    """Pixels that a slice of ``height`` × ``width`` is high when ``columns`` of them share ``available`` pixels."""
    fitting = int((available / columns - GAP) * height / width)
    return min(max(fitting, SMALLEST), LARGEST)
