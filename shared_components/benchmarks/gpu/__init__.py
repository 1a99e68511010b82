"""What a GPU does with the bundles: ``python -m shared_components.benchmarks.gpu``, see ``scripts/gpu_check.sh``."""
