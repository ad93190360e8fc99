"""What a request meets before Django, as ASGI and as WSGI: it costs next to nothing and knows no database."""
