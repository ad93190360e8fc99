"""What a finding shows of a config is masked, whatever the secrets are, in text and time that stay small."""

from hashlib import sha512

from events.masking.masker import MASK, Masker
from workspaces.configuration.diagnostics import findings_without_values
from workspaces.configuration.parser import inspect_config

SECRET = "hunter2-hunter2"
LONG_SECRET = sha512(b"a value").hexdigest()


def masked_warnings(config, *secrets):
    return findings_without_values(inspect_config(config).warnings, Masker(secrets))


def test_a_secret_made_of_the_masks_own_character_does_not_lengthen_messages_more_and_more():
    config = "".join(f"{MASK[0] * width}: x\n" for width in range(1, 6))
    lengths = [len(each.message) for each in masked_warnings(config, MASK[0])]
    assert len(lengths) == 5
    assert max(lengths) < 300


def test_a_long_secret_stays_masked_beside_a_key_that_holds_the_beginning_of_its_path():
    config = f"{SECRET}: x\n{SECRET}.{LONG_SECRET}: y\n"
    shown = "".join(map(str, masked_warnings(config, SECRET, LONG_SECRET)))
    assert MASK in shown
    assert [LONG_SECRET[at : at + 8] for at in range(120) if LONG_SECRET[at : at + 8] in shown] == []


def test_a_short_secret_is_masked_as_a_word_and_garbles_no_other():
    one, other = masked_warnings("a: x\nrutime: y\n", "a")
    sentence = f"neither Slipway nor {MASK} known runtime reads this key."
    assert (one.path, one.message) == (MASK, f"{MASK}: {sentence}")
    assert (other.path, other.message) == ("rutime", f"rutime: {sentence}")
