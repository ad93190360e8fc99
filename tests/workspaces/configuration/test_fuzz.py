"""10,000 generated configurations: none crashes, hangs or fills the memory. A failure names its seed and document."""

import random
import subprocess
import sys
from pathlib import Path

# On an idle machine it takes about 15 seconds.
MOST_SECONDS = 240


def test_no_generated_configuration_crashes_hangs_or_fills_the_memory():
    # A seed of its own for each run, so that runs together look at ever more documents.
    seed = random.SystemRandom().randrange(2**32)
    command = [sys.executable, "-m", "tests.workspaces.configuration.fuzz", "--seed", str(seed)]
    print(f"seed {seed}")
    result = subprocess.run(
        command, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=MOST_SECONDS, check=False
    )
    assert result.returncode == 0, f"seed {seed}: {result.stderr[-6000:]}"
    assert result.stdout.startswith(f"10000 documents of seed {seed}")
