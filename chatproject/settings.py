"""Django's settings: config.yaml, where an administrator changes things, turned into what Django wants."""

import sys
from typing import Any

from csp.constants import NONCE, NONE, SELF
from django.utils.translation import gettext_lazy

from chatproject import databases, logs, npm
from chatproject.config import BASE_DIR, load_or_exit

CHAT = load_or_exit()

DEBUG = CHAT.debug
SECRET_KEY = CHAT.secret_key
# The health check of a container asks its own machine, whatever name the site has.
ALLOWED_HOSTS = [*CHAT.allowed_hosts, "localhost", "127.0.0.1"]

# Applications

INSTALLED_APPS = [
    "chatproject",  # first, because its runserver builds on that of daphne, which must stand before staticfiles
    # It loads Twisted, which takes as long as all the rest of the start: only where it serves.
    *(["daphne"] if "runserver" in sys.argv else []),
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "servestatic",
    "allauth",
    "allauth.account",
    "channels",
    "conversations",
    "streaming",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "chatproject.middleware.ContentSecurityPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "chatproject.middleware.Language",  # behind the one that knows who it is
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "chatproject.urls"
ASGI_APPLICATION = "chatproject.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "streaming.context.models",
            ],
        },
    },
]

# Database and layers

DATABASES = {"default": databases.database(CHAT.database_url, BASE_DIR)}

# Hints between processes; redis-py closes an idle socket after 5 s unless socket_timeout says otherwise.
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
if CHAT.redis_url:
    CHANNEL_LAYERS["default"] = {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [{"address": CHAT.redis_url, "socket_timeout": None}], "prefix": "parley"},
    }

# One per process, also where there is Redis: what is kept here (counts of sign-in attempts) may be lost, and signing in
# must work while Redis does not.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# The longest message, when a form sends each of its characters as %XX%XX%XX%XX, and some room for the other fields.
DATA_UPLOAD_MAX_MEMORY_SIZE = max(2_621_440, CHAT.message_characters * 12 + 65_536)
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000
DATA_UPLOAD_MAX_NUMBER_FILES = 20

# Accounts

AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    "django.contrib.auth.hashers.ScryptPasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "chatproject.accounts.AccountAdapter"
ACCOUNT_FORMS = {"login": "chatproject.forms.SignInForm"}
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
# Mail that goes to a console confirms nothing. Where there is mail an address is confirmed, but nobody is kept out:
# an administrator may make accounts that have no address.
ACCOUNT_EMAIL_VERIFICATION = "optional" if CHAT.email_url else "none"
ACCOUNT_EMAIL_SUBJECT_PREFIX = "Parley: "
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_USERNAME_MIN_LENGTH = 2
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if CHAT.secure_cookies else "http"

globals().update(databases.mail(CHAT.email_url))

# Security

# Browsers share cookies between all ports of a host: under Django's usual name another project on localhost signs people
# out.
SESSION_COOKIE_NAME = "parley_session"
CSRF_TRUSTED_ORIGINS = list(CHAT.allowed_origins)
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"

# secureCookies says that all people come by https, through a proxy that tells so.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = CHAT.secure_cookies
SECURE_REDIRECT_EXEMPT = [r"^health/"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if CHAT.secure_cookies else None
SECURE_HSTS_SECONDS = 31_536_000 if CHAT.secure_cookies else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = CHAT.secure_cookies

# Nothing from elsewhere, no inline script without the nonce, and no markup from a string except through DOMPurify.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "require-trusted-types-for": ["'script'"],
        "trusted-types": ["dompurify", "parley"],
    }
}

# Static files

STATIC_URL = "/static/"
STATIC_ROOT = CHAT.static_root or None
STATICFILES_DIRS = [BASE_DIR / "static", *npm.static_folders()]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "servestatic.storage.CompressedManifestStaticFilesStorage"
        if STATIC_ROOT
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
# From the source: found at the start, asked for anew by the browser each time. After collectstatic: hashed names, which a
# browser keeps for ever.
SERVESTATIC_USE_FINDERS = not STATIC_ROOT
SERVESTATIC_USE_MANIFEST = bool(STATIC_ROOT)
SERVESTATIC_MAX_AGE = 60 if STATIC_ROOT else 0
SERVESTATIC_ALLOW_ALL_ORIGINS = False
# Folders of npm packages are absent before the first set-up; chatproject.E001 says it better.
SILENCED_SYSTEM_CHECKS = ["staticfiles.W004"]

# Languages and times

USE_I18N = USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
LANGUAGES = [("en", gettext_lazy("English")), ("zh-hans", gettext_lazy("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "locale"]

# Logs

_SECRETS = [CHAT.app_key, CHAT.secret_key, CHAT.encryption_key]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "safe": {
            "()": "chatproject.logs.SafeFormatter",
            "fmt": "%(asctime)s %(levelname)s %(name)s: %(message)s",
            "secrets": _SECRETS + logs.passwords([CHAT.database_url, CHAT.redis_url, CHAT.email_url]),
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "stream": sys.stderr, "formatter": "safe"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    # Everybody's own handlers are taken away, so that every line goes through the one formatter. uvicorn's list of requests
    # is left to the proxy in front of it.
    "loggers": {
        "django": {"handlers": [], "level": "INFO"},
        "django.server": {"handlers": [], "level": "INFO", "propagate": True},
        "django.channels.server": {"handlers": [], "level": "INFO"},
        "uvicorn": {"handlers": [], "level": "INFO", "propagate": True},
        "uvicorn.error": {"handlers": [], "level": "INFO", "propagate": True},
        "uvicorn.access": {"handlers": [], "propagate": False},
        "conversations": {"level": "INFO"},
        "streaming": {"level": "INFO"},
        "chatproject": {"level": "INFO"},
    },
}
