from __future__ import annotations

import json
from pathlib import Path

import pytest

import shared_components
from shared_components.packaging.archive import copy_components
from shared_components.packaging.reach import reached_files
from shared_components.packaging.settings import merged_configs

COMPONENTS = Path(shared_components.__file__).parent
BUNDLES = COMPONENTS.parent / "bundles"
ABSENT = ("federation", "study", "benchmarks", "packaging", "data/challenges", "data/spinal_cord")
CODE = {
    "__init__.py": "",
    "report/__init__.py": "",
    "report/__main__.py": "def late():\n    import shared_components.files\n",
    "files.py": "",
    "data/__init__.py": "from shared_components.data.slices import Slices\n",
    "data/slices.py": "TARGET = 'shared_components.networks.unet.UNet'\nTOLD = 'see shared_components.unused'\n",
    "data/challenges/__init__.py": "",
    "networks/__init__.py": "",
    "networks/unet.py": "from shared_components import sizes\nimport torch\n",
    "networks/other.py": "",
    "sizes.py": "",
    "unused.py": "",
}


def test_imports_are_followed_wherever_they_stand(tmp_path):
    source = tmp_path / "shared_components"
    for name, text in CODE.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    (tmp_path / "inference.json").write_text('{"imports": ["$import shared_components.data.slices as s"]}')
    found = {
        file.relative_to(source).as_posix() for file in reached_files(source, [tmp_path / "inference.json"])
    }
    assert found == CODE.keys() - {"data/challenges/__init__.py", "networks/other.py", "unused.py"}


@pytest.mark.parametrize("bundle", ["factory", "adaptation", "segmentation"])
def test_a_package_holds_what_its_configs_reach_and_nothing_else(tmp_path, bundle):
    for name, config in merged_configs(BUNDLES / bundle / "configs").items():
        (tmp_path / f"{name}.json").write_text(json.dumps(config))
    copy = tmp_path / "shared_components"
    copy_components(COMPONENTS, copy, tmp_path.glob("*.json"))
    assert [name for name in ABSENT if (copy / name).exists()] == []
    assert (copy / "data/phantoms/colin27/head_2mm.nii.gz").is_file()
    assert sorted(file.name for file in (copy / "data/phantoms").glob("*.py")) == []
