"""What the clients of a federation have, told without an image: counts, voxel sizes, intensities, label volumes.

A site looks at its own volumes (:mod:`.site`), leaves out whatever stands for too few patients (:mod:`.published`),
and only what is left goes to the coordinator, who puts it side by side (:mod:`.merged`, :mod:`.page`).
"""
