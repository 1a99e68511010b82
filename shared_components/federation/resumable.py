"""The hint how to go on, the same wherever a run or a study is interrupted."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def resumable(folder: str | os.PathLike) -> Iterator[None]:
    """Tell whoever interrupts what happens inside how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(
                f"{folder}: interrupted; whole rounds and finished stages are kept, go on with --resume",
                file=sys.stderr,
            )
        raise
