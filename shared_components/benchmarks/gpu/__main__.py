"""The command behind ``scripts/gpu_check.sh``; names what a bare machine lacks before it imports anything."""

from __future__ import annotations

import importlib.util
import os
import sys

NEEDED = {  # module -> the package that has it; nothing else is imported where no DICOM file is read
    **{name: name for name in ("torch", "numpy", "scipy", "monai", "nibabel", "fire", "termcolor", "tqdm")},
    **{"matplotlib": "matplotlib", "tensorboard": "tensorboard", "PIL": "pillow", "yaml": "PyYAML"},
    "ignite": "pytorch-ignite",
}


def check(
    output_dir: str = "outputs/gpu_check",
    device: str = "cuda",
    smoke: bool = False,
    seconds: float = 450,
    only: str | list[str] | None = None,
) -> None:
    """Try every bundle on a GPU, and measure; the shortest and surest steps come first.

    Args:
        output_dir: for data, runs and the table, gpu_check.md and gpu_check.csv.
        device: cuda, or cpu to try the check itself.
        smoke: at the smallest sizes: about a minute on a CPU.
        seconds: in which all must end; what does not fit is left out.
        only: names of steps, such as machine,networks; all by default. Later steps need the files of earlier ones.
    """
    from shared_components.benchmarks.gpu.check import gpu_check
    from shared_components.command_line import names

    if not gpu_check(output_dir, device, smoke, seconds, None if only is None else names(only)):
        raise SystemExit(1)


def main() -> None:
    """Parse the command line and run."""
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        words = "python -m pip install --target SITE, on a machine with an index, then SITE=… bash scripts/gpu_check.sh"
        raise SystemExit(f"error: missing packages: {', '.join(missing)}; carry them here: {words}")
    if any(word in ("--device=cpu", "cpu") for word in sys.argv):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # clients in processes of their own choose by it
    from shared_components.command_line import run

    run(check)


if __name__ == "__main__":
    main()
