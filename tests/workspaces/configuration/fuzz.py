"""Generates configurations and checks what a preflight says: `python -m tests.workspaces.configuration.fuzz`.

Half are mutated real files, the others grow from a grammar of known keys, odd values, anchors, merges, tags and
garbage. Exits with 1, naming seed and number of the document, after an exception, a broken promise, or too much time or
memory. The same seed makes the same documents.
"""

import argparse
import functools
import json
import random
import resource
import signal
import sys
import time
from pathlib import Path

import django

django.setup()

from agent import rules  # noqa: E402 (these need the settings)
from workspaces.configuration import catalog  # noqa: E402
from workspaces.configuration import parser as parser_module  # noqa: E402
from workspaces.configuration.diagnostics import MOST_DIAGNOSTICS  # noqa: E402
from workspaces.configuration.parser import BadConfig, check_config, inspect_config  # noqa: E402
from workspaces.configuration.preflight import examine  # noqa: E402
from workspaces.configuration.secret_files import given_secrets  # noqa: E402

ROOT = Path(__file__).parents[3]
FILES = [*(ROOT / "catalog").glob("*/config.yaml"), *(Path(__file__).parent / "real").glob("*.yaml")]
TEXTS = [path.read_text() for path in sorted(FILES)]
MOST_CPU_SECONDS_OF_ONE = 5
# The scalars below 40 levels.
DEEPEST = 41
# Beyond what the process has when it begins.
MOST_BYTES = 256 * 1024 * 1024
KEYS = """
name version tier runtime model models env required required_env any_of runtime_config command args boot step run id
a2a port prompt_files skills tools timeout provision_timeout_seconds stall_timeout_seconds requried_env Env x-notes
"""
KEYS = KEYS.split()
SCALARS = r"""
~ null true no off 0 -1 80 70000 1.5 .nan -.inf 1e999 0x1F 0o17 010 2026-01-02 1:30 A_KEY 1KEY hub/* langgraph '' "a\0b"
"\ud800" '*' <<
"""
SCALARS = [
    *SCALARS.split(),
    "9" * 1200,
    "9" * 5000,
    "[" * 60 + "]" * 60,
    "é",
    "\u2028",
    "\u200b",
    "\u202e",
    "\U0001f600",
    "x" * 300,
    "' '",
]
TOKENS = """: |- |> &a *a *b !!int !x !!python/object:os.system << ? - [ ] { } , # % @ ` --- ... ' " \\"""
TOKENS = [
    *TOKENS.split(),
    *("\t", "\n", "\r", "\r\n", "\0", "\x07", "\x85", "\u2028", "\ufeff", "\ud800", "\U0010ffff", " ", "\n  "),
    *("\n- ", ": ", "a: &a [*a]", "{<<: *a}", "[" * 60, "{a: " * 60, "*a, " * 200),
]
# Pairs that are nearly right, which chance seldom makes.
PAIRS = [
    *(
        "a2a: {port: 70000}",
        "port: 0",
        "tier: 1.5",
        "[a]: b",
        "{a: b}: c",
        "env: {required: [1KEY, {any_of: []}, A_KEY]}",
    ),
    *(
        "models: [{id: hub/*, required_env: [A_KEY]}, {id: ' '}]",
        "runtime_config: {required_env: [{any_of: [A_KEY, B]}]}",
    ),
    *("boot: [{step: a}, {step: b, run: c}]", "command: ['']", "timeout: -1", "<<: {name: x}", "<<: [{a: 1}, x]"),
    *("prompt_files: [a.md, ../b, /c]", "envs: {required: [A]}", "runtime: hermse", "provision_timeout_seconds: 0"),
]
VALUES = ["", " ", "changeme", "sk-...", " x ", '"x"', "<key>", "a\nb\n", "real-4bT9xQ1v", "\u200bx", "…", "x" * 70_000]


def document(chance):
    """Return one text."""
    if chance.random() < 0.002:
        return chance.choice([big_list, big_aliases, big_keys, big_depth])(chance)
    if chance.random() < 0.5:
        return mutated(chance.choice(TEXTS), chance)
    return mutated(flow(chance, 0), chance) if chance.random() < 0.3 else flow(chance, 0)


def mutated(text, chance):
    """Return the text after a few edits of its characters and lines."""
    for _ in range(chance.randrange(6)):
        at, end = sorted((chance.randrange(len(text) + 1), chance.randrange(len(text) + 1)))
        edit = chance.randrange(5)
        if edit == 0:
            text = text[:at] + chance.choice(TOKENS) + text[at:]
        elif edit == 1:
            text = text[:at] + text[min(end, at + chance.randrange(40)) :]
        elif edit == 2:
            text = text[:end] + text[at : min(end, at + 200)] + text[end:]
        elif edit == 3:
            lines = text.split("\n")
            line = chance.randrange(len(lines))
            lines[line] = f"{' ' * chance.randrange(6)}{chance.choice(KEYS)}: {flow(chance, 3)}"
            text = "\n".join(lines)
        else:
            text = text[:at] + chr(chance.choice([chance.randrange(128), chance.randrange(0x110000)])) + text[at + 1 :]
    return text


def flow(chance, depth):
    """Return a value in YAML's flow style; at the top nearly always a mapping."""
    kind = chance.random() if depth else 0.9
    anchor = chance.choice(["&a ", "*a ", "!!str ", "&b "]) if chance.random() < 0.04 else ""
    if depth > 6 or kind < 0.5:
        return anchor + chance.choice(SCALARS)
    inner = range(chance.randrange(5))
    if kind < 0.7:
        return f"{anchor}[{', '.join(flow(chance, depth + 1) for _ in inner)}]"
    pairs = [f"{chance.choice(KEYS if chance.random() < 0.9 else SCALARS)}: {flow(chance, depth + 1)}" for _ in inner]
    if chance.random() < 0.3:
        pairs.append(chance.choice(PAIRS))
    return f"{anchor}{{{', '.join(pairs)}}}"


def big_list(chance):
    return f"{chance.choice(KEYS)}: [" + f"{chance.choice(SCALARS)}," * chance.randrange(30_000) + "]"


def big_keys(chance):
    return "".join(f"{chance.choice(KEYS)}{number}: {{}}\n" for number in range(chance.randrange(15_000)))


def big_depth(chance):
    return "a: " + chance.choice(["[", "{a: ", "- ", "? "]) * chance.randrange(100_000)


def big_aliases(chance):
    width = chance.randrange(2, 40)
    lines = [f"a0: &a0 [{', '.join('x' * width)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, chance.randrange(2, 60))]
    return "\n".join(lines)


def check(text, chance):
    """Preflight a text with a few variables, and assert what callers rely on."""
    given = {chance.choice(["A_KEY", "OPENAI_API_KEY", "B", "PORT", "1KEY"]): chance.choice(VALUES) for _ in range(2)}
    checked = inspect_config(text)
    env_file = mutated("A_KEY=a\nB='x\ny'\n# c\nexport C=\n", chance) if chance.random() < 0.2 else ""
    asked = given_secrets(given, env_file=env_file)
    report = examine(checked, stored={}, given=asked, model=chance.choice(["", "hub/x", "*"]))
    json.dumps(checked.config, allow_nan=False)
    assert depth_of(checked.config) <= DEEPEST
    for found in (report.problems, report.warnings):
        assert len(found) <= MOST_DIAGNOSTICS
        for each in found:
            assert each.code
            assert each.message.endswith(".")
            assert each.line is None or 1 <= each.line <= len(env_file if each.is_in_env_file else text) + 1
            assert len(str(each)) < 5000, str(each)[:300]
            str(each).encode()
    try:
        config = check_config(text).config
    except BadConfig as error:
        refused = error
    else:
        refused = None
    assert (refused.problems if refused else []) == checked.problems
    if refused:
        assert str(refused)
        return
    assert rules.check_shape(config).problems == []
    rules.missing(rules.effective(config, port=1, environment=given), given)


def take_away(name, value):
    """Return what replaces a safeguard of the parser."""
    return lambda: setattr(parser_module, name, value)


BROKEN = {
    "depth": take_away("MAX_DEPTH", 10**9),
    "aliases": take_away("check_size", lambda root: None),
    "characters": take_away("check_characters", lambda text: None),
    "numbers": take_away("MAX_NUMBER_CHARACTERS", 10**9),
}


def depth_of(value):
    """Return how deep lists and mappings are nested."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth_of, inner), default=0)


def stop(_signal, _frame):
    raise TimeoutError(f"more than {MOST_CPU_SECONDS_OF_ONE} seconds of the processor")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--without", choices=BROKEN, help="take a safeguard away, to see that it is missed")
    options = parser.parse_args()
    if options.without:
        BROKEN[options.without]()
    signal.signal(signal.SIGPROF, stop)
    # The catalog stays as it is meanwhile, and reading it takes longer than most documents.
    catalog.list_runtimes = functools.cache(catalog.list_runtimes)
    most_bytes = peak_bytes() + MOST_BYTES
    # What asks for far more at once gets a MemoryError instead of the machine's memory.
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 4 * MOST_BYTES, resource.RLIM_INFINITY))
    began, slowest = time.process_time(), 0.0
    for number in range(1, options.number + 1):
        chance = random.Random(f"{options.seed} {number}")  # noqa: S311 (the same for each seed)
        text = document(chance)
        before = time.process_time()
        try:
            signal.setitimer(signal.ITIMER_PROF, MOST_CPU_SECONDS_OF_ONE)
            check(text, chance)
            assert peak_bytes() <= most_bytes
        except BaseException:
            print(f"seed {options.seed}, document {number}: {text[:2000]!r}", file=sys.stderr)
            raise
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        slowest = max(slowest, time.process_time() - before)
    took = time.process_time() - began
    print(f"{options.number} documents of seed {options.seed} in {took:.1f} s, the slowest in {slowest:.2f} s")


def peak_bytes():
    """Return the most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
