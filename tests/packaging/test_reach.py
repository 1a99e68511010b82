from __future__ import annotations

from pathlib import Path

import shared_components
from shared_components.packaging.archive import copy_components
from shared_components.packaging.reach import reached_files
from shared_components.packaging.settings import workflow_files

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


def test_packages_hold_what_the_bundles_reach_and_nothing_else(tmp_path):
    copy_components(COMPONENTS, tmp_path, workflow_files(BUNDLES))
    assert [name for name in ABSENT if (tmp_path / name).exists()] == []
    assert (tmp_path / "data/phantoms/colin27/head_2mm.nii.gz").is_file()
    assert (tmp_path / "report/templates/base.html").is_file()
    assert sorted(file.name for file in (tmp_path / "data/phantoms").glob("*.py")) == []


def test_workflows_of_every_bundle_are_followed():
    names = {file.parent.parent.name for file in workflow_files(BUNDLES)}
    assert names == {"factory", "adaptation", "segmentation"}
