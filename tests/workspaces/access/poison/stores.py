"""Reads everything that is stored: the tables of Postgres and the keys of Redis."""

import redis
from django.conf import settings
from django.db import connection
from psycopg import sql


def postgres_texts():
    """Yield each table and its rows as text."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(sql.SQL("SELECT row::text FROM {} AS row").format(sql.Identifier(table)))
            for (text,) in cursor.fetchall():
                yield f"table {table}", text


def redis_texts():
    """Yield each key of the tests' Redis and what it holds."""
    readers = {
        b"string": lambda client, key: client.get(key),
        b"list": lambda client, key: client.lrange(key, 0, -1),
        b"set": lambda client, key: client.smembers(key),
        b"zset": lambda client, key: client.zrange(key, 0, -1),
        b"hash": lambda client, key: client.hgetall(key),
        b"stream": lambda client, key: client.xrange(key),
        # It has expired since it was listed.
        b"none": lambda client, key: None,
    }
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        for key in client.scan_iter(f"{settings.REDIS_PREFIX}*"):
            yield f"redis {key.decode()}", repr(readers[client.type(key)](client, key))
