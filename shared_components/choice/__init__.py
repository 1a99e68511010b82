"""Which of several models a client without labels should use: chosen without a label of that client."""

from shared_components.choice.choose import choose
from shared_components.choice.label_volumes import label_volumes
from shared_components.choice.shapes import write_shapes

__all__ = ["choose", "label_volumes", "write_shapes"]
