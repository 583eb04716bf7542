"""The one settings file, read from the environment.

Every default runs on a developer's machine; with ``DEBUG`` off the service refuses to start without its secrets.
README's table lists every name, and a test compares the two.
"""

from __future__ import annotations

import hmac
import ipaddress
from pathlib import Path
from typing import Any

import django_stubs_ext
import environ
from django.core.exceptions import ImproperlyConfigured

from core import log

# Django's generic classes (ModelAdmin[Job] …) may be subscribed at run time, as the type checker sees them.
django_stubs_ext.monkeypatch()

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent


def secret(name: str) -> str:
    """A secret from the environment; with DEBUG a fixed development value, else required.

    Demo and tests set DERIVE_SECRETS: there the secrets nobody has set follow from their random SECRET_KEY.
    """
    value: str = env.str(name, default="")
    if value:
        return value
    if DEBUG:
        return f"development-only-{name.lower()}-not-for-production-use"
    if name != "SECRET_KEY" and env.bool("DERIVE_SECRETS", default=False):
        return hmac.digest(SECRET_KEY.encode(), name.encode(), "sha256").hex()
    raise ImproperlyConfigured(f"{name} must be set when DEBUG is off.")


# --- shared ---------------------------------------------------------------------------------------------------

DEBUG: bool = env.bool("DEBUG", default=False)
SECRET_KEY = secret("SECRET_KEY")
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
PUBLIC_BASE_URL: str = env.str("PUBLIC_BASE_URL", default="").rstrip("/")
API_HOSTS: dict[str, str] = env.dict("API_HOSTS", default={})
TRUSTED_PROXIES = [ipaddress.ip_network(net) for net in env.list("TRUSTED_PROXIES", default=[])]
TRUST_UNIX_SOCKET: bool = env.bool("TRUST_UNIX_SOCKET", default=False)
ALLOW_PRIVATE_NETWORKS: bool = env.bool("ALLOW_PRIVATE_NETWORKS", default=False)
CONTACT_EMAIL: str = env.str("CONTACT_EMAIL", default="support@localhost")
CONTACT_URL: str = env.str("CONTACT_URL", default="")

# Every API answers with and without a slash at the end; nothing redirects between the two.
APPEND_SLASH = False
ROOT_URLCONF = "core.urls"
WSGI_APPLICATION = "core.wsgi.application"
AUTH_USER_MODEL = "core.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "core",
    "usermgmt",  # seeded first: CyVerse's documented people have the ids 1 and 2
    "downloads",
    "exports",
    "registry",
    "nnels",
]

MIDDLEWARE = [
    "core.middleware.RequestLog",
    "django.middleware.security.SecurityMiddleware",
    "core.middleware.ContentSecurityPolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "core.middleware.ApiHosts",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "core.middleware.Hosts",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "core.middleware.Failures",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "core.views.site",
            ]
        },
    }
]

# --- PostgreSQL -----------------------------------------------------------------------------------------------

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        **env.db_url("DATABASE_URL", default="postgres://quincunx:quincunx@127.0.0.1:5432/quincunx"),
        "CONN_MAX_AGE": env.int("CONN_MAX_AGE", default=60),
        "CONN_HEALTH_CHECKS": True,
        "ENGINE": "core.postgresql",
    }
}
DATABASES["default"].setdefault("OPTIONS", {})
# A process that froze in the middle of a transaction loses its locks after so long, or its job could not be taken over.
IDLE_TRANSACTION_SECONDS: int = env.int("IDLE_TRANSACTION_SECONDS", default=30)
SESSION_OPTIONS = f"-c idle_in_transaction_session_timeout={IDLE_TRANSACTION_SECONDS * 1000}"
DATABASES["default"]["OPTIONS"].update(connect_timeout=5, application_name="quincunx", options=SESSION_OPTIONS)
# Applied to the connections of web requests only; jobs run as long as their own limits allow.
STATEMENT_TIMEOUT_MS: int = env.int("STATEMENT_TIMEOUT_MS", default=15_000)

# --- Valkey and Celery ----------------------------------------------------------------------------------------

REDIS_URL: str = env.str("REDIS_URL", default="redis://127.0.0.1:6379/0")
CELERY_BROKER_URL = REDIS_URL
JOB_LEASE_SECONDS: int = env.int("JOB_LEASE_SECONDS", default=30)
JOB_SWEEP_SECONDS: int = env.int("JOB_SWEEP_SECONDS", default=5)
JOB_KEEP_DAYS: int = env.int("JOB_KEEP_DAYS", default=90)

# --- the blob store -------------------------------------------------------------------------------------------

S3_ENDPOINT_URL: str = env.str("S3_ENDPOINT_URL", default="http://127.0.0.1:8333")
S3_PUBLIC_ENDPOINT_URL: str = env.str("S3_PUBLIC_ENDPOINT_URL", default=S3_ENDPOINT_URL)
S3_ACCESS_KEY_ID: str = secret("S3_ACCESS_KEY_ID")
S3_SECRET_ACCESS_KEY: str = secret("S3_SECRET_ACCESS_KEY")
S3_SESSION_TOKEN: str = env.str("S3_SESSION_TOKEN", default="")
S3_BUCKET: str = env.str("S3_BUCKET", default="quincunx")
S3_REGION: str = env.str("S3_REGION", default="us-east-1")
S3_ADDRESSING: str = env.str("S3_ADDRESSING", default="path")

# --- mail -----------------------------------------------------------------------------------------------------

vars().update(env.email_url("EMAIL_URL", default="smtp://127.0.0.1:25"))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL: str = env.str("DEFAULT_FROM_EMAIL", default=CONTACT_EMAIL)
SERVER_EMAIL = DEFAULT_FROM_EMAIL

# --- people, sessions, passwords ------------------------------------------------------------------------------

# IOOS: clients may send the SHA-256 of a password, so the stored hash must be bcrypt over that hex digest.
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.BCryptSHA256PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AUTHENTICATION_BACKENDS = ["core.backends.UsernameOrEmail"]
LOGIN_URL = "/accounts/login"
LOGIN_REDIRECT_URL = "/accounts/"
LOGOUT_REDIRECT_URL = "/"
PASSWORD_RESET_TIMEOUT = 24 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
HTTPS: bool = env.bool("HTTPS", default=not DEBUG)
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
# API paths answer plain http themselves (some must refuse it in their own words), so pages redirect in middleware.
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^(?!admin|accounts|portal|registry|docs)"]
SECURE_HSTS_SECONDS: int = env.int("HSTS_SECONDS", default=31_536_000 if HTTPS else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("TRUST_FORWARDED_PROTO", default=False) else None
)
X_FRAME_OPTIONS = "DENY"
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# --- limits, language, files ----------------------------------------------------------------------------------

DATA_UPLOAD_MAX_MEMORY_SIZE = env.int("REQUEST_MAX_BYTES", default=1_048_576)
FILE_UPLOAD_MAX_MEMORY_SIZE = 1_048_576
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000
LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
# Set in the image, where the files are collected at build; without it the apps' own folders are read.
STATIC_ROOT: str | None = env.str("STATIC_ROOT", default="") or None
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = STATIC_ROOT is None
WHITENOISE_AUTOREFRESH = False

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_THROTTLE_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
}

DEMO_CREDENTIALS: str = env.str("DEMO_CREDENTIALS", default="")
METRICS_TOKEN: str = env.str("METRICS_TOKEN", default="")
LOG_LEVEL: str = env.str("LOG_LEVEL", default="INFO")
LOG_FORMAT: str = env.str("LOG_FORMAT", default="json")
LOGGING = log.configure(level=LOG_LEVEL, style=LOG_FORMAT)

# --- downloads ------------------------------------------------------------------------------------------------

DOWNLOADS_STRICT: bool = env.bool("DOWNLOADS_STRICT", default=True)
DOWNLOADS_DELIVERY: str = env.str("DOWNLOADS_DELIVERY", default="redirect")
DOWNLOADS_LOCAL_TZ: str = env.str("DOWNLOADS_LOCAL_TZ", default="UTC")
DOWNLOADS_NAMESPACES: dict[str, str] = env.dict("DOWNLOADS_NAMESPACES", default={})
DOWNLOADS_COMPAT: str = env.str("DOWNLOADS_COMPAT", default="")
DOWNLOADS_TITLE: str = env.str("DOWNLOADS_TITLE", default="Specimen records of a query")
DOWNLOADS_PUBLISHER: str = env.str("DOWNLOADS_PUBLISHER", default="Quincunx")
DOWNLOADS_PORTAL_URL: str = env.str("DOWNLOADS_PORTAL_URL", default="https://www.idigbio.org/portal")
DOWNLOADS_REUSE_HOURS: float = env.float("DOWNLOADS_REUSE_HOURS", default=23.0)
DOWNLOADS_KEEP_DAYS: int = env.int("DOWNLOADS_KEEP_DAYS", default=30)
DOWNLOADS_RUNNING_PER_CALLER: int = env.int("DOWNLOADS_RUNNING_PER_CALLER", default=3)
DOWNLOADS_QUEUED_PER_CALLER: int = env.int("DOWNLOADS_QUEUED_PER_CALLER", default=10)
DOWNLOADS_QUEUE_LENGTH: int = env.int("DOWNLOADS_QUEUE_LENGTH", default=10_000)
DOWNLOADS_MAILS_PER_ADDRESS: int = env.int("DOWNLOADS_MAILS_PER_ADDRESS", default=20)
DOWNLOADS_MAILS_PER_CALLER: int = env.int("DOWNLOADS_MAILS_PER_CALLER", default=30)
# Builds of more rows than this go to the long lane, where so many run at once and so many jobs help with each.
DOWNLOADS_SHORT_ROWS: int = env.int("DOWNLOADS_SHORT_ROWS", default=100_000)
DOWNLOADS_LONG_BUILDS: int = env.int("DOWNLOADS_LONG_BUILDS", default=1)
DOWNLOADS_ASSISTANTS: int = env.int("DOWNLOADS_ASSISTANTS", default=3)
DOWNLOADS_INGEST_PROCESSES: int = env.int("DOWNLOADS_INGEST_PROCESSES", default=1)
DOWNLOADS_INGEST_BYTES: int = env.int("DOWNLOADS_INGEST_BYTES", default=10 * 1024**3)
DOWNLOADS_PART_ROWS: int = env.int("DOWNLOADS_PART_ROWS", default=50_000)

# --- exports --------------------------------------------------------------------------------------------------

EXPORTS_DIALECT: str = env.str("EXPORTS_DIALECT", default="ocl2016")
EXPORTS_DEFAULT_FORMAT: str = env.str("EXPORTS_DEFAULT_FORMAT", default="tgz")
EXPORTS_REQUIRE_AUTH: bool = env.bool("EXPORTS_REQUIRE_AUTH", default=False)
EXPORTS_LINK_KEY: str = env.str("EXPORTS_LINK_KEY", default="") or f"exports-links:{SECRET_KEY}"
EXPORTS_LINK_SECONDS: int = env.int("EXPORTS_LINK_SECONDS", default=60)
EXPORTS_LINK_GRACE_SECONDS: int = env.int("EXPORTS_LINK_GRACE_SECONDS", default=3600)
EXPORTS_LINK_DELIVERY: str = env.str("EXPORTS_LINK_DELIVERY", default="redirect")
EXPORTS_DEFLATE: str = env.str("EXPORTS_DEFLATE", default="isal-1")
EXPORTS_AUTO_BUILD: str = env.str("EXPORTS_AUTO_BUILD", default="never")
EXPORTS_KEEP_DAYS: int = env.int("EXPORTS_KEEP_DAYS", default=0)
EXPORTS_HEAD_FOR_ADMINS: bool = env.bool("EXPORTS_HEAD_FOR_ADMINS", default=False)
EXPORTS_VARIANT_DAYS: int = env.int("EXPORTS_VARIANT_DAYS", default=30)
EXPORTS_MAX_ACTIVE: int = env.int("EXPORTS_MAX_ACTIVE", default=3)
EXPORTS_MAX_HOURLY: int = env.int("EXPORTS_MAX_HOURLY", default=30)
EXPORTS_MAX_WEBHOOKS: int = env.int("EXPORTS_MAX_WEBHOOKS", default=10)
EXPORTS_MAX_STREAMS: int = env.int("EXPORTS_MAX_STREAMS", default=4)
EXPORTS_MAX_EVENT_STREAMS: int = env.int("EXPORTS_MAX_EVENT_STREAMS", default=2)
EXPORTS_EVENTS_SECONDS: int = env.int("EXPORTS_EVENTS_SECONDS", default=300)
EXPORTS_EXTRA_MAX_BYTES: int = env.int("EXPORTS_EXTRA_MAX_BYTES", default=10_000_000)
EXPORTS_MAX_EXTRA_FILES: int = env.int("EXPORTS_MAX_EXTRA_FILES", default=20)
EXPORTS_BODY_MAX_BYTES: int = env.int("EXPORTS_BODY_MAX_BYTES", default=10_000_000)
EXPORTS_IMPORT_MAX_BYTES: int = env.int("EXPORTS_IMPORT_MAX_BYTES", default=1024**3)
EXPORTS_IMPORT_MAX_UNPACKED: int = env.int("EXPORTS_IMPORT_MAX_UNPACKED", default=16 * 1024**3)
EXPORTS_IMPORT_MAX_RATIO: int = env.int("EXPORTS_IMPORT_MAX_RATIO", default=200)
EXPORTS_IMPORT_MAX_RECORD: int = env.int("EXPORTS_IMPORT_MAX_RECORD", default=8 * 1024**2)
EXPORTS_IMPORT_HOSTS: list[str] = env.list("EXPORTS_IMPORT_HOSTS", default=[])

# --- registry -------------------------------------------------------------------------------------------------

REGISTRY_TOKEN_DAYS: int = env.int("REGISTRY_TOKEN_DAYS", default=90)
REGISTRY_MAX_DOCUMENTS: int = env.int("REGISTRY_MAX_DOCUMENTS", default=200_000)
REGISTRY_MAX_DOCUMENT_BYTES: int = env.int("REGISTRY_MAX_DOCUMENT_BYTES", default=10 * 1_048_576)
REGISTRY_MAX_LISTING_BYTES: int = env.int("REGISTRY_MAX_LISTING_BYTES", default=50 * 1_048_576)
REGISTRY_CONNECTIONS: int = env.int("REGISTRY_CONNECTIONS", default=16)
REGISTRY_CONNECTIONS_PER_HOST: int = env.int("REGISTRY_CONNECTIONS_PER_HOST", default=8)
REGISTRY_CONNECT_SECONDS: float = env.float("REGISTRY_CONNECT_SECONDS", default=10)
REGISTRY_READ_SECONDS: float = env.float("REGISTRY_READ_SECONDS", default=30)
REGISTRY_REQUEST_SECONDS: float = env.float("REGISTRY_REQUEST_SECONDS", default=60)
REGISTRY_RUN_SECONDS: int = env.int("REGISTRY_RUN_SECONDS", default=6 * 3600)
REGISTRY_SCHEDULE_SECONDS: float = env.float("REGISTRY_SCHEDULE_SECONDS", default=300)
REGISTRY_LEASE_SECONDS: int = env.int("REGISTRY_LEASE_SECONDS", default=60)
REGISTRY_BACKOFF_SECONDS: float = env.float("REGISTRY_BACKOFF_SECONDS", default=1)
REGISTRY_CKAN_HOSTS: list[str] = env.list("REGISTRY_CKAN_HOSTS", default=[])
REGISTRY_CKAN_KEY: str = env.str("REGISTRY_CKAN_KEY", default="")
# The first key encrypts the user names and passwords of sources; the others still decrypt what they encrypted.
REGISTRY_CREDENTIAL_KEYS: list[str] = env.list("REGISTRY_CREDENTIAL_KEYS", default=[SECRET_KEY])
REGISTRY_KEEP_RUNS: int = env.int("REGISTRY_KEEP_RUNS", default=30)
REGISTRY_DEMO_SOURCE_PORT: int = env.int("REGISTRY_DEMO_SOURCE_PORT", default=8899)

# --- usermgmt -------------------------------------------------------------------------------------------------

# Searches run on connections of their own, so that their short statement timeout binds nothing else.
USERMGMT_STATEMENT_TIMEOUT_MS: int = env.int("USERMGMT_STATEMENT_TIMEOUT_MS", default=2_000)
USERMGMT_SEARCH_DATABASE = "directory"
DATABASES[USERMGMT_SEARCH_DATABASE] = {
    **DATABASES["default"],
    "OPTIONS": {
        **DATABASES["default"]["OPTIONS"],
        # The directory's indexes live in memory: what is read at random costs hardly more than in a row.
        "options": f"{SESSION_OPTIONS} -c statement_timeout={USERMGMT_STATEMENT_TIMEOUT_MS}"
        " -c max_parallel_workers_per_gather=0 -c random_page_cost=1.1",
    },
    "TEST": {"MIRROR": "default"},
}
USERMGMT_REQUIRE_HTTPS: bool = env.bool("USERMGMT_REQUIRE_HTTPS", default=HTTPS)
# Newest first, each "id:value"; secrets made under an older one stay valid while it is listed.
USERMGMT_SECRET_PEPPERS: list[tuple[str, str]] = [
    (name, value)
    for name, _, value in (
        item.partition(":")
        for item in env.list("USERMGMT_SECRET_PEPPERS", default=[])
        or ["development:" + secret("USERMGMT_SECRET_PEPPERS")]
    )
]
USERMGMT_DEFAULT_LIMIT: int = env.int("USERMGMT_DEFAULT_LIMIT", default=100)
USERMGMT_MAX_LIMIT: int = env.int("USERMGMT_MAX_LIMIT", default=500)
USERMGMT_CLIENT_LIMIT: int = env.int("USERMGMT_CLIENT_LIMIT", default=1_200)  # a minute
USERMGMT_FAILURE_LIMIT: int = env.int("USERMGMT_FAILURE_LIMIT", default=100)  # in five minutes, an address
USERMGMT_KEY_FAILURE_LIMIT: int = env.int("USERMGMT_KEY_FAILURE_LIMIT", default=20)  # the same, a key and address
USERMGMT_VOLUME_ALERT: int = env.int("USERMGMT_VOLUME_ALERT", default=20_000)  # searches a day and client
USERMGMT_TOKEN_SECONDS: int = env.int("USERMGMT_TOKEN_SECONDS", default=3_600)
USERMGMT_BASIC_ENABLED: bool = env.bool("USERMGMT_BASIC_ENABLED", default=True)
USERMGMT_BASIC_DEPRECATION: str = env.str("USERMGMT_BASIC_DEPRECATION", default="")  # Unix time
USERMGMT_BASIC_SUNSET: str = env.str("USERMGMT_BASIC_SUNSET", default="")  # HTTP date
USERMGMT_BASIC_LINK: str = env.str("USERMGMT_BASIC_LINK", default="")
USERMGMT_EMAIL_SECRET: bool = env.bool("USERMGMT_EMAIL_SECRET", default=False)
USERMGMT_STAFF_EMAIL: list[str] = env.list("USERMGMT_STAFF_EMAIL", default=[CONTACT_EMAIL])
USERMGMT_ESCALATION_EMAIL: list[str] = env.list("USERMGMT_ESCALATION_EMAIL", default=USERMGMT_STAFF_EMAIL)
USERMGMT_SUPPORT_NAME: str = env.str("USERMGMT_SUPPORT_NAME", default="CyVerse Support")
USERMGMT_LOGIN_LABEL: str = env.str("USERMGMT_LOGIN_LABEL", default="CyVerse Login")
USERMGMT_HELP_LABEL: str = env.str("USERMGMT_HELP_LABEL", default="Science APIs")
USERMGMT_HELP_URL: str = env.str("USERMGMT_HELP_URL", default="/docs/")
USERMGMT_WEBHOOK_SECRET: str = secret("USERMGMT_WEBHOOK_SECRET")

# --- nnels ----------------------------------------------------------------------------------------------------

NNELS_DEFAULT_FORMAT: str = env.str("NNELS_DEFAULT_FORMAT", default="simple")
NNELS_RANGE: int = env.int("NNELS_RANGE", default=50)
NNELS_QUERY_TOKEN: bool = env.bool("NNELS_QUERY_TOKEN", default=False)
NNELS_SHOW_ACCESS_DENIED: bool = env.bool("NNELS_SHOW_ACCESS_DENIED", default=False)
# The first key signs; the others still name pairs that they signed before.
NNELS_TOKEN_KEYS: list[str] = env.list("NNELS_TOKEN_KEYS", default=[SECRET_KEY])
NNELS_ACCESS_LIFETIME: int = env.int("NNELS_ACCESS_LIFETIME", default=86_400)
NNELS_REFRESH_LIFETIME: int = env.int("NNELS_REFRESH_LIFETIME", default=180 * 86_400)
NNELS_BASIC_CACHE_SECONDS: int = env.int("NNELS_BASIC_CACHE_SECONDS", default=300)
NNELS_URL_LIFETIME: int = env.int("NNELS_URL_LIFETIME", default=3600)
NNELS_ISSUE_LOG_DAYS: int = env.int("NNELS_ISSUE_LOG_DAYS", default=90)
NNELS_RANK_LIMIT: int = env.int("NNELS_RANK_LIMIT", default=20_000)
NNELS_READ_TIMEOUT_MS: int = env.int("NNELS_READ_TIMEOUT_MS", default=5000)
NNELS_CORS_ORIGINS: list[str] = env.list("NNELS_CORS_ORIGINS", default=["*"])
NNELS_RATE_LIMIT: str = env.str("NNELS_RATE_LIMIT", default="")
NNELS_IMPORT_ROOT: str = env.str("NNELS_IMPORT_ROOT", default="")
