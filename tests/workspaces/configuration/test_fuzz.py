"""10,000 generated configurations: none crashes, hangs or fills the memory. A failure names its seed and document."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

# On an idle machine it takes about 15 seconds.
MOST_SECONDS = 240


SEED = 1


def fuzz(*arguments):
    """Generate and check configurations in a process of their own."""
    return subprocess.run(
        [sys.executable, "-m", "tests.workspaces.configuration.fuzz", *map(str, arguments)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=False,
    )


def test_no_generated_configuration_crashes_hangs_or_fills_the_memory():
    # A seed of its own for each run, so that runs together look at ever more documents.
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    result = fuzz("--seed", seed)
    assert result.returncode == 0, f"seed {seed}: {result.stderr[-6000:]}"
    assert result.stdout.startswith(f"10000 documents of seed {seed}")


@pytest.mark.parametrize("safeguard", ["depth", "aliases", "characters", "numbers"])
def test_it_fails_once_a_safeguard_is_missing_and_names_the_document(safeguard):
    result = fuzz("--seed", SEED, "--without", safeguard)
    assert result.returncode != 0
    assert f"seed {SEED}, document " in result.stderr
