"""Values that a field, a parameter or a body can't have, and what else callers send."""

import json

LONG = "x" * 300_000
# By what is wrong with it. Some calls take some of these: what they take, their schemas say.
OTHER_TYPES = {
    "a number": 5,
    "a negative number": -1,
    "a fraction": 1.5,
    "an integer of many digits": 10**30,
    "a large fraction": 1e300,
    "true": True,
    "null": None,
    "a text": "x y",
    "a text of a number": "5",
    "an empty text": "",
    "a list": ["x y"],
    "a list of numbers": [5],
    "a list of lists": [[]],
    "an object": {"x y": "x"},
    "an object of numbers": {"X": 5},
    "an object of objects": {"X": {}},
    "another ID": "7c2e6f10-58d3-4c6e-8f1b-0d9a4e5b6c73",
}
# No operator may send these, whatever the field.
NEVER = {
    "a long text": LONG,
    "a list of a long text": [LONG],
    "an object of a long text": {"X": LONG},
    "a long list": [f"x{number}" for number in range(5000)],
    "a large object": {f"X{number}": "x" for number in range(5000)},
    "a NUL": "a\0b",
    "a NUL in a list": ["a\0b"],
    "a NUL in an object": {"X": "a\0b"},
    "a NUL in a key": {"a\0b": "x"},
    "half of a surrogate pair": "a\ud800b",
    "half of a surrogate pair in a key": {"a\ud800b": "x"},
    "deep nesting": json.loads('{"a":' * 70 + "1" + "}" * 70),
}
# Only the value of a variable, and a text with variables in it, may hold these.
CONTROLS = {
    "a terminal sequence": "a\x1b[2Jb",
    "a bell": "bell\a",
    "a bidi control": "a\u202eb",
    "a line end": "two\nlines",
}
TAKING_CONTROLS = {"value", "env_file"}


def field_as(name, value):
    """Return a member of a JSON object whose value is JSON, or nearly."""
    return b'{"%s": %s}' % (name.encode(), value)


# A body that is no JSON object: the body, the status, and the code.
BODIES = {
    "nothing": (b"", 400, "bad_json"),
    "half an object": (b"{", 400, "bad_json"),
    "a word": (b"not json", 400, "bad_json"),
    "two values": (b"{}{}", 400, "bad_json"),
    "a trailing comma": (b'{"name": "a",}', 400, "bad_json"),
    "a byte order mark": (b"\xef\xbb\xbf{}", 400, "bad_json"),
    "bytes that are not UTF-8": (b'{"name": "\xff"}', 400, "bad_json"),
    "UTF-16": ('{"name": "a"}'.encode("utf-16"), 400, "bad_json"),
    "a raw line end in a text": (b'{"name": "a\nb"}', 400, "bad_json"),
    "a text": (b'"text"', 422, "validation_error"),
    "a number": (b"5", 422, "validation_error"),
    "null": (b"null", 422, "validation_error"),
    "a list": (b"[]", 422, "validation_error"),
    "a list of objects": (b"[{}]", 422, "validation_error"),
    "a hundred thousand brackets": (b"[" * 100_000 + b"]" * 100_000, 400, "too_deep"),
    "a text of one MiB": (field_as("name", b'"' + b"x" * 2**20 + b'"'), 413, "too_large"),
    "a text of five MB": (field_as("name", b'"' + b"x" * 5_000_000 + b'"'), 413, "too_large"),
}
# A field that any body may have, whose value is refused before its type is looked at: the value, the status, the code,
# and the place that is named.
PLACES = {
    "NaN": (b"NaN", 400, "bad_json", "{field}"),
    "Infinity": (b"Infinity", 400, "bad_json", "{field}"),
    "-Infinity in a list": (b"[1, -Infinity]", 400, "bad_json", "{field}[1]"),
    "a number too large": (b"1e999", 422, "validation_error", "{field}"),
    "an integer of 5000 digits": (b"1" * 5000, 422, "validation_error", "{field}"),
    "a field twice": (b'{"a": 1, "b": 2, "a": 3}', 422, "validation_error", "{field}.a"),
    "a field twice in a list": (b'[{"a": 1, "a": 1}]', 422, "validation_error", "{field}[0].a"),
    "half of a surrogate pair": (b'["\\ud800"]', 422, "validation_error", "{field}[0]"),
    "a NUL": (b'{"a": "\\u0000"}', 422, "validation_error", "{field}.a"),
    "a NUL in a key": (b'{"\\u0000": 1}', 422, "validation_error", "{field}"),
    "70 levels": (b'{"a":' * 70 + b"1" + b"}" * 70, 400, "too_deep", "{field}" + ".a" * 64),
}
# Parts of an address, quoted.
NO_IDS = {
    "a word": "nonsense",
    "a NUL": "%00",
    "a NUL behind a number": "1%00",
    "a negative number": "-1",
    "a fraction": "1.5",
    "many digits": "9" * 30,
    "many characters": "x" * 3000,
    "half of a surrogate pair": "%ed%a0%80",
    "a byte that is not UTF-8": "%ff",
    "a terminal sequence": "%1b%5b2J",
    "a space": "%20",
    "another script's digits": "%D9%A3",
}
# Values of a parameter that has another type than text.
NO_VALUES = {
    "a word": "nonsense",
    "a fraction": "1.5",
    "a negative number": "-1",
    "many digits": "9" * 30,
    "infinity": "inf",
    "an empty value": "",
}
# No parameter may have these, whatever its type.
NO_TEXTS = {
    "many characters": "x" * 5000,
    "a NUL": "a%00b",
    "a terminal sequence": "a%1b%5b2Jb",
    "a line end": "a%0ab",
    "a bidi control": "a%E2%80%AEb",
}
