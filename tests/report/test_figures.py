from __future__ import annotations

import pytest
from PIL import Image

from shared_components.errors import InputError
from shared_components.report.figures import file_uri
from tests.report.pixels import pixels


def test_picture_files_are_checked(tmp_path):
    Image.new("P", (5, 4)).save(tmp_path / "good.png")
    assert pixels(file_uri(tmp_path / "good.png")).shape == (4, 5, 4)
    (tmp_path / "bad.png").write_text("no picture")
    for name in ("bad.png", "none.png"):
        with pytest.raises(InputError, match=f"{name[:-4]}\\.png: expected a picture"):
            file_uri(tmp_path / name)
