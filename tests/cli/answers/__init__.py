"""Tests of `slipway` against servers whose answers are not a Slipway server's."""
