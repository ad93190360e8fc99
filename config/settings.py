"""Slipway's settings. Only this module reads the environment; importing it starts nothing.

`.env.example` lists every variable with its unit and default.
"""

import os
import re
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import environ
from django.templatetags.static import static
from django.urls import reverse

from config.environment import (
    MAIL_SCHEMES,
    choice,
    cidr_list,
    fernet_keys,
    flag,
    integer,
    optional_seconds,
    optional_url,
    path_prefix,
    read_environment,
    required,
    seconds,
    text,
    time_zone,
    trusted_proxies,
    url,
)
from workspaces.provisioners.kinds import LAUNCHED_KINDS

BASE_DIR = Path(__file__).resolve().parent.parent
env = read_environment()

# --- Django --------------------------------------------------------------------------------------
DEBUG = flag(env, "DEBUG", default=False)
SECRET_KEY = required(env, "SECRET_KEY")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"
INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    # Serves the API's documentation page without a CDN.
    "ninja",
    "axes",
    "devserver",
    "config",
    "monitoring",
    "status_drift",
    "registry",
    "workspaces",
    "events",
]
MIDDLEWARE = [
    "config.security_headers.ContentSecurityMiddleware",
    # Before the others, so that it sees their responses.
    "config.api.error_responses.JsonErrorMiddleware",
    "config.api.database_outages.RepeatAfterLostConnection",
    "django.middleware.security.SecurityMiddleware",
    "config.entry.browser_middleware.StaticFiles",
    "config.entry.browser_middleware.Sessions",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "config.entry.browser_middleware.Users",
    "config.entry.browser_middleware.Messages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "config.api.workspace_gate.WorkspaceGate",
    "axes.middleware.AxesMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "events.admin.sent_forms.form_token",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
# Five wrong passwords for one account from one address: a stranger elsewhere locks nobody out, and nobody for long.
AXES_FAILURE_LIMIT = 5
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_COOLOFF_TIME = timedelta(minutes=5)
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "config.lockouts.locked_out"
AXES_CLIENT_IP_CALLABLE = "config.lockouts.client_address"
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "config.static_files.PrefixedStaticFiles"},
}
# Serve files straight from the packages, so that `make up` doesn't need collectstatic.
WHITENOISE_USE_FINDERS = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

# --- Admin ---------------------------------------------------------------------------------------
UNFOLD = {
    "SITE_TITLE": "Slipway",
    "SITE_HEADER": "Slipway",
    "SITE_SUBHEADER": "Workspaces for agents",
    "SITE_SYMBOL": "sailing",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _: static("workspaces/favicon.svg")},
    ],
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "STYLES": [lambda _: reverse("admin_theme"), lambda _: static("workspaces/admin.css")],
    "SCRIPTS": [lambda _: static("workspaces/content-security.js"), lambda _: static("events/forms.js")],
    "DASHBOARD_CALLBACK": "workspaces.admin.dashboard.dashboard_context",
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .214 259.815)",
            "600": "oklch(54.6% .245 262.881)",
            "700": "oklch(48.8% .243 264.376)",
            "800": "oklch(42.4% .199 265.638)",
            "900": "oklch(37.9% .146 265.522)",
            "950": "oklch(28.2% .091 267.935)",
        }
    },
    "SIDEBAR": {"navigation": "config.navigation.sections"},
}

# --- Postgres ------------------------------------------------------------------------------------
DATABASE_URL = url(env, "DATABASE_URL", schemes=["postgres", "postgresql"])
DATABASES = {"default": environ.Env.db_url_config(DATABASE_URL)}
DATABASES["default"]["ENGINE"] = "postgres.backend"
DATABASES["default"].setdefault("OPTIONS", {})
DATABASES["default"]["OPTIONS"].setdefault("connect_timeout", 5)
# Only the ASGI process may use a pool: a prefork worker would share it between parent and child.
DATABASE_POOL_SIZE = integer(env, "DATABASE_POOL_SIZE", default=0, least=0, most=1000)
DATABASE_POOL_WAIT_SECONDS = seconds(env, "DATABASE_POOL_WAIT_SECONDS", default=3)
if DATABASE_POOL_SIZE:
    DATABASES["default"]["OPTIONS"]["pool"] = {
        "min_size": 1,
        "max_size": DATABASE_POOL_SIZE,
        "timeout": DATABASE_POOL_WAIT_SECONDS,
        # After this the pool gives up an attempt to connect; the next request begins another one.
        "reconnect_timeout": DATABASE_POOL_WAIT_SECONDS,
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = integer(
        env, "DATABASE_CONN_MAX_AGE_SECONDS", default=60, least=0, most=86_400
    )
DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
# How long a process waits for Postgres (postgres/time_limits.py); commands have no limits.
WEB_LOCK_TIMEOUT_SECONDS = seconds(env, "WEB_LOCK_TIMEOUT_SECONDS", default=2)
WEB_STATEMENT_TIMEOUT_SECONDS = seconds(env, "WEB_STATEMENT_TIMEOUT_SECONDS", default=15)
WEB_IDLE_TRANSACTION_SECONDS = seconds(env, "WEB_IDLE_TRANSACTION_SECONDS", default=15)
WORKER_LOCK_TIMEOUT_SECONDS = seconds(env, "WORKER_LOCK_TIMEOUT_SECONDS", default=5)
WORKER_STATEMENT_TIMEOUT_SECONDS = seconds(env, "WORKER_STATEMENT_TIMEOUT_SECONDS", default=120)
WORKER_IDLE_TRANSACTION_SECONDS = seconds(env, "WORKER_IDLE_TRANSACTION_SECONDS", default=120)

# --- Redis and Celery ----------------------------------------------------------------------------
REDIS_URL = url(env, "REDIS_URL", schemes=["redis", "rediss", "unix"])
REDIS_PREFIX = text(env, "REDIS_PREFIX", default="slipway:")
CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "global_keyprefix": REDIS_PREFIX,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    # Redelivery may come early: a task that runs twice does no harm, and beat repeats lost messages anyway.
    "visibility_timeout": 300,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0.1, "interval_max": 0.2}
CELERY_TASK_IGNORE_RESULT = True
# Keep the schedule in memory. A schedule file holds times of day: if the clock is set back, beat would stay silent.
CELERY_BEAT_SCHEDULER = "celery.beat:Scheduler"
CELERY_TASK_DEFAULT_QUEUE = "launch"
CELERY_TASK_ROUTES = {
    "workspaces.tasks.launch": {"queue": "launch"},
    "workspaces.tasks.tear_down": {"queue": "stop"},
    "workspaces.tasks.stop_unknown": {"queue": "stop"},
    "workspaces.tasks.delete_files": {"queue": "launch"},
    "workspaces.tasks.*": {"queue": "sweep"},
    "registry.tasks.*": {"queue": "sweep"},
}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Celery would close the database connection before and after each task; config/celery.py keeps it instead.
CELERY_DB_REUSE_MAX = sys.maxsize
SWEEP_INTERVAL_SECONDS = seconds(env, "SWEEP_INTERVAL_SECONDS", default=30)
WATCH_INTERVAL_SECONDS = seconds(env, "WATCH_INTERVAL_SECONDS", default=5)

# --- Deadlines -----------------------------------------------------------------------------------
PROVISION_TIMEOUT_SECONDS = optional_seconds(env, "PROVISION_TIMEOUT_SECONDS")
HEARTBEAT_INTERVAL_SECONDS = seconds(env, "HEARTBEAT_INTERVAL_SECONDS", default=30)
HEARTBEAT_LIMIT_SECONDS = seconds(env, "HEARTBEAT_LIMIT_SECONDS", default=180)
QUEUE_LONGEST_SECONDS = seconds(env, "QUEUE_LONGEST_SECONDS", default=21_600)
TEARDOWN_GRACE_SECONDS = seconds(env, "TEARDOWN_GRACE_SECONDS", default=600)
# Mass lateness: hold failures if this many booting launches of a runtime or backend are late together, and more than
# this share of them.
BRAKE_LEAST_LATE = integer(env, "BRAKE_LEAST_LATE", default=5, least=1, most=1_000_000)
BRAKE_PERCENT = integer(env, "BRAKE_PERCENT", default=50, least=0, most=100)
BRAKE_LONGEST_HOLD_SECONDS = seconds(env, "BRAKE_LONGEST_HOLD_SECONDS", default=900)
# If the sweep or the web shows no sign of life for this long, it was away. Keep it longer than a usual pause between
# two sweeps.
OUTAGE_AFTER_SECONDS = seconds(env, "OUTAGE_AFTER_SECONDS", default=90)

# --- Retention -----------------------------------------------------------------------------------
# After how many days something is deleted (workspaces/retention.py); 0 keeps it for ever.
RETENTION_EVENTS_DAYS = integer(env, "RETENTION_EVENTS_DAYS", default=90, least=0, most=36_500)
RETENTION_DELIVERIES_DAYS = integer(env, "RETENTION_DELIVERIES_DAYS", default=30, least=0, most=36_500)
RETENTION_LAUNCHES_DAYS = integer(env, "RETENTION_LAUNCHES_DAYS", default=180, least=0, most=36_500)
RETENTION_REMOVED_DAYS = integer(env, "RETENTION_REMOVED_DAYS", default=90, least=0, most=36_500)
RETENTION_INCIDENTS_DAYS = integer(env, "RETENTION_INCIDENTS_DAYS", default=365, least=0, most=36_500)
RETENTION_USAGE_DAYS = integer(env, "RETENTION_USAGE_DAYS", default=400, least=0, most=36_500)
RETENTION_ADMIN_LOG_DAYS = integer(env, "RETENTION_ADMIN_LOG_DAYS", default=365, least=0, most=36_500)
PRUNE_INTERVAL_SECONDS = 600.0
METRICS_ENABLED = flag(env, "METRICS_ENABLED", default=True)

# --- Workspaces ----------------------------------------------------------------------------------
PLATFORM_URL = url(env, "PLATFORM_URL", schemes=["http", "https"], default="http://127.0.0.1:8000").rstrip("/")
# Where workspaces reach the registry, if not at PLATFORM_URL: processes of its own, which people do not slow down.
REGISTRY_URL = optional_url(env, "REGISTRY_URL", schemes=["http", "https"]).rstrip("/") or PLATFORM_URL
# The prefix of all paths, such as /slipway, if a proxy serves Slipway below one (config/entry/proxies.py).
PATH_PREFIX = path_prefix(env, "PATH_PREFIX", default=urlsplit(PLATFORM_URL).path)
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = f"{PATH_PREFIX}/"
# `Path.resolve` raises for a link to itself.
DATA_DIR = Path(os.path.realpath(text(env, "DATA_DIR", default=str(BASE_DIR / ".data"))))
CATALOG_DIRS = [
    Path(os.path.realpath(folder)) for folder in env.list("CATALOG_DIRS", default=[str(BASE_DIR / "catalog")])
]
PROVISIONER = choice(env, "PROVISIONER", default="process", among=LAUNCHED_KINDS)
# A system check refuses PROVISIONER=simulated without this, since the simulated backend launches nothing real.
ALLOW_SIMULATOR = flag(env, "ALLOW_SIMULATOR", default=False)
# The threads of all workers of a queue together. They bound how many messages wait in it.
LAUNCH_SLOTS = integer(env, "LAUNCH_SLOTS", default=4, least=1, most=1000)
STOP_SLOTS = integer(env, "STOP_SLOTS", default=8, least=1, most=1000)
# For each backend: how many launches may be starting at once, and the pause between two. 0 means no limit.
LAUNCH_CONCURRENCY = integer(env, "LAUNCH_CONCURRENCY", default=0, least=0, most=10_000)
LAUNCH_PAUSE_MILLISECONDS = integer(env, "LAUNCH_PAUSE_MILLISECONDS", default=0, least=0, most=600_000)
AGENT_LOG_BYTES = integer(env, "AGENT_LOG_BYTES", default=1_048_576, least=4096, most=1_073_741_824)
AGENT_STOP_SECONDS = seconds(env, "AGENT_STOP_SECONDS", default=5)
# Whether each launch runs in namespaces of its own, if the host allows that: none of its processes outlives a stop.
AGENT_NAMESPACES = flag(env, "AGENT_NAMESPACES", default=True)
# Beneath which cgroup (v2) each launch gets its own: own, none or a path. Limits need its controllers; 0: no limit.
AGENT_CGROUP = text(env, "AGENT_CGROUP", default="own")
AGENT_MEMORY_BYTES = integer(env, "AGENT_MEMORY_BYTES", default=0, least=0, most=2**50)
AGENT_PROCESSES = integer(env, "AGENT_PROCESSES", default=0, least=0, most=4_194_304)
# Variables that a workspace's process inherits: where programs are, and how this host reaches the network.
AGENT_PASSTHROUGH_ENV = env.list(
    "AGENT_PASSTHROUGH_ENV",
    default=["PATH", "LANG", "TZ"]
    + ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"]
    + ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PIP_CERT", "PIP_INDEX_URL", "PIP_CONFIG_FILE"],
)
AGENT_URL_ALLOW_PRIVATE = cidr_list(env, "AGENT_URL_ALLOW_PRIVATE")
# The days and months of usage and budgets are those of this time zone, such as Europe/Berlin.
BUDGET_TIME_ZONE = time_zone(env, "BUDGET_TIME_ZONE", default="UTC")
SECRETS_KEYS = fernet_keys(env, "SECRETS_KEYS")

# --- Delivery ------------------------------------------------------------------------------------
# Private networks in which receivers may be; all others are refused, so that no channel can reach internal services.
DELIVERY_ALLOW_PRIVATE = cidr_list(env, "DELIVERY_ALLOW_PRIVATE")
# Webhooks and chats use this proxy, and none of the environment: the guard would judge its address as the receiver's.
OUTBOUND_PROXY = optional_url(env, "OUTBOUND_PROXY", schemes=["http", "https"])
# For tests: divides the pauses between attempts.
DELIVERY_RETRY_DIVISOR = integer(env, "DELIVERY_RETRY_DIVISOR", default=1, least=1, most=10_000)
# After this long another process takes over a claimed delivery. Keep it longer than the longest send.
DELIVERY_LEASE_SECONDS = integer(env, "DELIVERY_LEASE_SECONDS", default=60, least=2, most=3600)
# Chat and e-mail channels group equal events within this time into one message.
DELIVERY_FLOOD_SECONDS = integer(env, "DELIVERY_FLOOD_SECONDS", default=60, least=1, most=3600)
# If unset, no mail can be sent, and the form of e-mail channels says so.
EMAIL_URL = optional_url(env, "EMAIL_URL", schemes=MAIL_SCHEMES)
vars().update(environ.Env.email_url_config(EMAIL_URL) if EMAIL_URL else {})
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = text(env, "EMAIL_FROM", default="slipway@localhost")

# --- HTTPS ---------------------------------------------------------------------------------------
# The proxies in front of Slipway, which end TLS and say so, and from where they were asked, in X-Forwarded-Proto and
# X-Forwarded-For. TRUSTED_PROXY=true is the older name of 1.
TRUSTED_PROXIES = trusted_proxies(env, "TRUSTED_PROXIES", default=int(flag(env, "TRUSTED_PROXY", default=False)))
HTTPS = flag(env, "HTTPS", default=bool(TRUSTED_PROXIES))
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = integer(env, "HSTS_SECONDS", default=31_536_000, least=0, most=63_072_000) if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
# Agents, watchers and probes may reach Slipway past the proxy, and don't follow redirects.
SECURE_REDIRECT_EXEMPT = [
    rf"^{re.escape(f'{PATH_PREFIX}/'[1:])}(?:health|ready|metrics|registry/.*|admin/workspaces/[^/]+/bootstrap-failed)$"
]
# IDs of warnings of `manage.py check` that the operator has read and accepts.
SILENCED_SYSTEM_CHECKS = env.list("SILENCED_SYSTEM_CHECKS", default=[])

# --- HTTP ----------------------------------------------------------------------------------------
MAX_BODY_BYTES = 1_048_576
# Reports of failed boots hold a log. Its end is kept, whatever its length.
MAX_LOG_BODY_BYTES = 8 * MAX_BODY_BYTES
# How often one credential may call within a minute, in each web process (config/entry/rates.py); 0 means no limit.
AGENT_CALLS_PER_MINUTE = integer(env, "AGENT_CALLS_PER_MINUTE", default=300, least=0, most=1_000_000)
OPERATOR_CALLS_PER_MINUTE = integer(env, "OPERATOR_CALLS_PER_MINUTE", default=3000, least=0, most=1_000_000)
# The admin's forms hold a pasted config.yaml and report themselves which field is too long. The API reads its bodies
# itself and answers 413.
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_LOG_BODY_BYTES

# --- Logging -------------------------------------------------------------------------------------
LOG_LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
LOG_LEVEL = choice(env, "LOG_LEVEL", default="INFO", among=LOG_LEVELS)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"fields": {"()": "config.log_format.FieldsFormatter"}, "bare": {"format": "%(message)s"}},
    "filters": {
        "outages": {"()": "config.log_format.BrokerOutages"},
        "mask": {"()": "config.log_format.MaskBeforeLock"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "fields", "filters": ["outages", "mask"]},
        "lines": {"class": "logging.StreamHandler", "formatter": "bare"},
        "nowhere": {"class": "logging.NullHandler"},
    },
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        # Celery logs each task twice, every few seconds. Tasks log what they did themselves.
        "celery": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
        "httpx": {"level": "WARNING"},
        # Its warnings may hold the URL. The delivery keeps them, masked (apprise_warnings.py).
        "apprise": {"level": "WARNING", "handlers": ["nowhere"], "propagate": False},
        # Lines of the log channel are already JSON.
        "events.channels.log.kind": {"handlers": ["lines"], "propagate": False},
    },
}
