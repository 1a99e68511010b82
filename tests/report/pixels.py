"""What a data URI shows."""

from __future__ import annotations

import base64
import io
import re
from urllib.parse import unquote

import numpy as np
from PIL import Image

from shared_components.report.pages import SVG, WEBP


def pixels(uri: str) -> np.ndarray:
    """(H, W, RGBA) whole numbers from 0 to 255."""
    if not uri.startswith(SVG):
        return np.asarray(_decoded(uri)).astype(int)
    under, over = map(_decoded, re.findall(r'href="(.*?)"', unquote(uri)))
    return np.asarray(Image.alpha_composite(under, over)).astype(int)


def _decoded(uri: str) -> Image.Image:
    assert uri.startswith(WEBP)
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix(WEBP)))).convert("RGBA")
