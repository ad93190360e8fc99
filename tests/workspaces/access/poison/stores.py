"""Reads everything that is stored: the tables of Postgres, the keys of Redis, and the files of the data folder."""

import re

from psycopg import sql

from tests.workspaces.access.poison.markers import NEEDLES

_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_RECORD = f"workspaces/.records/{_ID}/{_ID}"
# The files below DATA_DIR that hold what a workspace was given or wrote: nobody else may read them.
RAW_FILES = re.compile(
    f"workspaces/{_ID}/work/.*"
    rf"|{_RECORD}/agent\.log(\.1|\.start)?"
    rf"|simulated/(running|exited|barred)/{_ID}\.{_ID}\.json"
)
# All others, in which no value may be.
OTHER_FILES = re.compile(
    rf"workspaces/{_ID}/launches/{_ID}/config/(\.auth_token|config\.(json|yaml))"
    rf"|{_RECORD}/(process\.json|exit\.json|lock|barred)"
    "|workspaces/.records/ports"
    r"|simulated/(ports|lock|simulator\.lock)"
    # Slipway's own keys, and the addresses and locks of its commands and embedded servers.
    r"|secret_key|secrets_keys|owner\.json|(owner|members)\.lock(-journal)?|registry_port"
    "|(postgres|redis)/.*"
)


def postgres_texts(cursor):
    """Yield each table and its rows as text."""
    cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for (table,) in cursor.fetchall():
        cursor.execute(sql.SQL("SELECT row::text FROM {} AS row").format(sql.Identifier(table)))
        for (text,) in cursor.fetchall():
            yield f"table {table}", text


def redis_texts(client, prefix=""):
    """Yield each key with this prefix and what it holds."""
    readers = {
        b"string": lambda key: client.get(key),
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": lambda key: client.smembers(key),
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"hash": lambda key: client.hgetall(key),
        b"stream": lambda key: client.xrange(key),
        # It has expired since it was listed.
        b"none": lambda key: None,
    }
    for key in client.scan_iter(f"{prefix}*"):
        yield f"redis {key.decode()}", repr(readers[client.type(key)](key))


def files_below(folder):
    """Yield the name below the folder of each file in it."""
    for path in sorted(folder.rglob("*")):
        # A socket can't be read, and a link leads elsewhere.
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(folder).as_posix()


def file_texts(folder):
    """Yield each file of a data folder that may hold no value, and what it holds."""
    for name in files_below(folder):
        if not RAW_FILES.fullmatch(name):
            try:
                yield f"file {name}", (folder / name).read_bytes().decode("latin-1")
            except FileNotFoundError:
                continue


def found_in(texts):
    """Return where something that must not be found is found: (where, what)."""
    return {(where, why) for where, text in texts for needle, why in NEEDLES.items() if needle in text}
