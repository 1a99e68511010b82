from __future__ import annotations

import pytest
import torch
from monai.transforms import Compose, Transform

from shared_components.data.volume_cache import VolumeCache
from tests.test_files import flipped


class Decode(Transform):
    """Stands for decoding: two tensors of a number, counted."""

    count = 0

    def __call__(self, item):
        Decode.count += 1
        return {"image": torch.full((2, 1, 3, 3), item["n"]), "label": torch.ones(2, dtype=torch.int16)}


@pytest.fixture
def decoded():
    Decode.count = 0
    return lambda: Decode.count


def test_a_damaged_volume_is_decoded_again_whatever_the_damage(tmp_path, decoded):
    volumes = VolumeCache([{"n": 1.5}, {"n": 2.5}], Compose([Decode()]), tmp_path / "cache")
    assert volumes[0]["image"].unique().tolist() == [1.5] and volumes[1]["image"].unique().tolist() == [2.5]
    assert volumes[0]["label"].dtype == torch.int16 and decoded() == 2
    file = min((tmp_path / "cache").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    whole = file.read_bytes()
    for number, damaged in enumerate((*flipped(whole, 60), whole[:100], b""), start=3):
        file.write_bytes(damaged)
        with pytest.warns(UserWarning, match=r"\.pt: expected a file of tensors .*; it is decoded again"):
            assert volumes[0]["image"].unique().tolist() == [1.5]
        assert decoded() == number
        assert file.read_bytes() == whole
