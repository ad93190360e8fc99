"""Where a shim begins: `python -I -S start_shim.py FOLDER PARAMETERS PROGRAM`. The rest of it is in shim.py.

Apart from that, because the interpreter compiles the file it is started with each time, and because to leave the
worker is cheapest before anything is imported.
"""

import os
import sys

if os.fork():
    # The worker waits for this first process only; the second belongs to nobody and leaves no zombie to it.
    os._exit(0)

# Found beside this file, and that place forgotten again: nothing of ours may be imported by what runs in here.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import shim  # type: ignore[import-not-found]

del sys.path[0]
shim.start(sys.argv)
