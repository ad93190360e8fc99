"""What Slipway's own credentials look like."""

# The length of 32 random bytes in base64url without padding.
TOKEN_CHARACTERS = 43
# They tell people, secret scanners and masker.py what leaked, and keep a shell from reading a key as an option.
KEY_PREFIX, AGENT_TOKEN_PREFIX = "slw_", "slwt_"
CREDENTIAL_PREFIXES = (KEY_PREFIX, AGENT_TOKEN_PREFIX)
# masker.py recognises so much of a credential that a log was cut in.
REST_CHARACTERS = 16
