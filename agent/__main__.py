"""Run the agent: `python -m agent`, or `python -I -S <folder>/agent`, which keeps our modules off the import path."""

import os
import sys

if not __package__:
    # Started by the folder's path: import the package from the folder's parent, which leaves sys.path again below.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from agent.supervisor import main

if not __package__:
    del sys.path[0]

if __name__ == "__main__":
    sys.exit(main(os.environ))
