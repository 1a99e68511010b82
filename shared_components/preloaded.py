"""What takes seconds to import, for the process that workers are copies of; nothing else imports this.

The collector of reference cycles would look at all of it again and again meanwhile, a fifth of the time.
"""

import gc
import os

os.environ["OMP_NUM_THREADS"] = "1"  # threads of NumPy's algebra would not be in the copies
gc.disable()
import monai.bundle  # noqa: E402
import monai.engines  # noqa: E402, F401

gc.freeze()
gc.enable()
