"""Which of several models a client without labels should use: chosen without a label of that client."""

from shared_components.choice.client_choice import choose
from shared_components.choice.shapes import label_volumes, write_shapes

__all__ = ["choose", "label_volumes", "write_shapes"]
