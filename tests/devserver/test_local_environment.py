"""The `.env` file in the project's root."""

import os

import pytest

from devserver import local_environment
from devserver.local_environment import LocalSetupError, read_dotenv


@pytest.fixture
def dotenv(tmp_path, monkeypatch):
    """The path of a `.env` that does not exist yet."""
    before = dict(os.environ)
    monkeypatch.setattr(local_environment, "PROJECT", tmp_path)
    yield tmp_path / ".env"
    os.environ.clear()
    os.environ.update(before)


def test_variables_of_dotenv_are_set_unless_the_environment_has_them(dotenv, monkeypatch):
    monkeypatch.setenv("SLIPWAY_TEST_SET", "environment")
    monkeypatch.delenv("SLIPWAY_TEST_UNSET", raising=False)
    dotenv.write_text("SLIPWAY_TEST_SET=file\nexport SLIPWAY_TEST_UNSET='$HOME'\n")
    read_dotenv()
    assert os.environ["SLIPWAY_TEST_SET"] == "environment"
    assert os.environ["SLIPWAY_TEST_UNSET"] == "$HOME"


def test_a_missing_dotenv_changes_nothing(dotenv):
    before = dict(os.environ)
    read_dotenv()
    assert dict(os.environ) == before


def test_an_unclosed_quote_in_dotenv_is_an_error_with_its_line(dotenv):
    dotenv.write_text("SLIPWAY_TEST=1\nSECRET_KEY='s3cr3t\n")
    with pytest.raises(LocalSetupError, match=r"\.env: Line 2 has a quote that is never closed") as refusal:
        read_dotenv()
    assert "s3cr3t" not in str(refusal.value)


def test_a_dotenv_that_is_not_text_is_an_error(dotenv):
    dotenv.write_bytes(b"SLIPWAY_TEST=\xff\n")
    with pytest.raises(LocalSetupError, match=r"\.env: .*utf-8"):
        read_dotenv()
