"""What a data URI shows."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image


def pixels(uri: str) -> np.ndarray:
    """(H, W, RGBA) whole numbers from 0 to 255."""
    content = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")).astype(int)
