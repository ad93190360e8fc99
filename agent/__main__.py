"""Run the agent: `python -m agent`, or `python -I -S <folder>/agent`, which lets a workspace import nothing of ours."""

import os
import sys

if not __package__:
    # Started by the folder's path: the package is found beside itself, and that place is forgotten again below.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from agent.supervisor import main

if not __package__:
    del sys.path[0]

if __name__ == "__main__":
    sys.exit(main(os.environ))
