"""The settings of this installation: the only reader of config.yaml, of .env and of the environment.

A value is taken from the first of these that has it: environment, .env, config.yaml, default. `load()` gives a `Config`,
or raises a `ConfigError` that tells every problem at once: where it is (file and line, or variable), what was found (never
of a secret), what would be right. pydantic judges the values; its settings package is not used, because it forgets where
a value came from.
"""

import base64
import binascii
import difflib
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from chatproject import envfile, yamlfile
from chatproject.yamlfile import Nested, Value

BASE_DIR = Path(__file__).resolve().parent.parent

# The keys


def _split(value: object) -> object:
    """A list may also be written as words between commas, which is the only way in an environment variable."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


def _wrong(right: str) -> PydanticCustomError:
    return PydanticCustomError("wrong", "{right}", {"right": right})


def _split_url(value: str) -> SplitResult | None:
    """Take an address apart; None when it is none (urlsplit raises for a broken host and `.port` for a broken port)."""
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018
    except ValueError:
        return None
    return parts


def _url(value: str, schemes: tuple[str, ...], example: str, *, host: bool = True) -> str:
    parts = _split_url(value)
    if value and (parts is None or parts.scheme not in schemes or (host and not parts.hostname)):
        raise _wrong(
            f"an address that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}, for example {example}"
        )
    return value


Words: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_split)]


def number(default: int, least: int, most: int) -> Any:
    """A whole number with its bounds."""
    return Field(default, ge=least, le=most)


def seconds(default: float, most: float, *, least: float | None = None) -> Any:
    """A length of time; without `least` it must be more than nothing."""
    if least is None:
        return Field(default, gt=0, le=most, allow_inf_nan=False)
    return Field(default, ge=least, le=most, allow_inf_nan=False)


def secret() -> Any:
    """A value that no message and no repr ever shows."""
    return Field("", repr=False)


class Config(BaseModel):
    """All settings, checked. What each is for stands in config.yaml, in the same order."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True,
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True,
    )  # fmt: skip

    # the model
    app_key: str = secret()
    base_url: str = ""
    models: Words = ()
    default_model: str = ""
    system_prompt: str = ""
    max_length: int = number(0, 0, 10_000_000)
    context_tokens: int = number(16_000, 256, 100_000_000)
    titles: bool = True
    title_model: str = ""

    # the server
    host: str = "127.0.0.1"
    port: int = number(3000, 1, 65_535)
    allowed_hosts: Words = ("localhost", "127.0.0.1", "[::1]")
    allowed_origins: Words = ()
    secure_cookies: bool = False
    debug: bool = False
    database_url: str = secret()
    redis_url: str = secret()
    static_root: str = ""

    # people
    sign_up: bool = False
    email_url: str = secret()
    interval_seconds: float = seconds(0, 86_400, least=0)

    # time-outs of a request to the model
    connect_seconds: float = seconds(10, 3600)
    first_token_seconds: float = seconds(60, 86_400)
    silence_seconds: float = seconds(60, 86_400)
    total_seconds: float = seconds(1800, 604_800)
    attempts: int = number(4, 1, 20)
    retry_seconds: float = seconds(1, 3600)
    retry_max_seconds: float = seconds(30, 86_400)

    # limits
    message_characters: int = number(200_000, 1, 10_000_000)
    reply_characters: int = number(4_000_000, 1, 100_000_000)
    title_characters: int = number(200, 1, 200)
    system_prompt_characters: int = number(20_000, 1, 40_000)
    prompt_characters: int = number(20_000, 1, 1_000_000)
    prompts_per_user: int = number(200, 1, 10_000)
    running_per_user: int = number(5, 1, 10_000)
    sockets_per_user: int = number(50, 1, 100_000)
    frames_per_minute: int = number(600, 1, 1_000_000)
    temporary_minutes: int = number(60, 1, 10_080)
    page_messages: int = number(50, 1, 1000)
    sidebar_conversations: int = number(50, 1, 1000)
    undo_seconds: float = seconds(60, 2_592_000, least=0)

    # fine tuning of the stream
    frame_milliseconds: int = number(16, 0, 10_000)
    frame_bytes: int = number(262_144, 1024, 1_000_000)
    buffer_bytes: int = number(262_144, 1024, 100_000_000)
    ack_seconds: float = seconds(30, 3600)
    lease_seconds: float = seconds(8, 3600)
    drain_seconds: float = seconds(5, 3600, least=0)
    replies_in: Literal["web", "workers"] = "web"

    # keys of this installation, made once and kept in .env
    secret_key: str = secret()
    encryption_key: str = secret()

    @field_validator("base_url")
    @classmethod
    def _base_url_is_an_address(cls, value: str) -> str:
        return _url(value, ("http", "https"), "http://localhost:11434/v1").rstrip("/")

    @field_validator("database_url")
    @classmethod
    def _database_url_is_known(cls, value: str) -> str:
        example = "postgresql://parley:password@localhost:5432/parley, or nothing for a SQLite file"
        if value.startswith("sqlite:///") and len(value) > len("sqlite:///"):
            return value
        return _url(value, ("postgresql", "postgres"), example, host=False)

    @field_validator("redis_url")
    @classmethod
    def _redis_url_is_known(cls, value: str) -> str:
        if value.startswith("unix://"):
            return value
        return _url(value, ("redis", "rediss"), "redis://localhost:6379/0, or nothing to run one process without Redis")

    @field_validator("email_url")
    @classmethod
    def _email_url_is_known(cls, value: str) -> str:
        example = (
            "smtps://name:password@mail.example.org:465?from=chat@example.org, or nothing to print mails to the console"
        )
        return _url(value, ("smtp", "smtps", "smtp+tls"), example)

    @field_validator("allowed_origins")
    @classmethod
    def _origins_are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = _split_url(origin)
            if parts is None or parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}":
                raise _wrong(
                    "origins of the form scheme://host or scheme://host:port, for example https://chat.example.org"
                )
            if not parts.hostname or "@" in parts.netloc or "*" in parts.netloc:
                raise _wrong("exact origins, without * and names, for example https://chat.example.org")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts_are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any("/" in host or (":" in host and not host.startswith("[")) for host in value):
            raise _wrong("names without scheme and port, for example chat.example.org")
        return value

    @field_validator("host")
    @classmethod
    def _host_is_a_name(cls, value: str) -> str:
        if not value or "/" in value or " " in value:
            raise _wrong("the address to listen on: 127.0.0.1 for this machine only, 0.0.0.0 for all")
        return value

    @field_validator("default_model")
    @classmethod
    def _default_model_is_offered(cls, value: str, info: ValidationInfo) -> str:
        models = info.data.get("models", ())
        if value and models and value not in models:
            raise _wrong(f"one of `models`: {', '.join(models)}")
        return value

    @field_validator("retry_max_seconds")
    @classmethod
    def _longest_wait_is_longest(cls, value: float, info: ValidationInfo) -> float:
        first = info.data.get("retry_seconds", 0)
        if value < first:
            raise _wrong(f"at least retrySeconds, which is {first:g}")
        return value

    @field_validator("encryption_key")
    @classmethod
    def _encryption_key_has_256_bits(cls, value: str) -> str:
        """Whichever alphabet of base64 it is written in, the URL-safe one is what the program gets."""
        key = _decoded_key(value)
        if value and key is None:
            raise _wrong("32 random bytes in base64, for example the output of `openssl rand -base64 32`")
        return base64.urlsafe_b64encode(key).decode() if key else ""

    @field_validator("secret_key")
    @classmethod
    def _secret_key_is_long(cls, value: str) -> str:
        if value and len(value) < 50:  # what `check --deploy` asks for
            raise _wrong("at least 50 random characters, for example the output of `openssl rand -base64 48`")
        return value


def _decoded_key(value: str) -> bytes | None:
    try:
        key = base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == 32 else None


# Where values come from

SECRET_FIELDS = frozenset(name for name, field in Config.model_fields.items() if field.repr is False)
FIELD_OF_KEY = {to_camel(name): name for name in Config.model_fields} | {"apiKey": "app_key"}

# What other programs call the same thing; CHAT_… goes first.
KNOWN_VARIABLES = {
    "app_key": ["CHAT_API_KEY", "OPENAI_API_KEY"], "base_url": ["OPENAI_BASE_URL"], "port": ["PORT"],
    "allowed_hosts": ["ALLOWED_HOSTS"], "database_url": ["DATABASE_URL"], "redis_url": ["REDIS_URL"],
    "secret_key": ["SECRET_KEY"], "encryption_key": ["ENCRYPTION_KEY"],
}  # fmt: skip

CONFIG_FILE_VARIABLE = "CHAT_CONFIG_FILE"
ENV_FILE_VARIABLE = "CHAT_ENV_FILE"


def variables_of(field: str) -> list[str]:
    """The environment variables that set this field, the first one winning."""
    return [f"CHAT_{field.upper()}", *KNOWN_VARIABLES.get(field, [])]


@dataclass(frozen=True)
class Given:
    """One value as somebody wrote it, and where."""

    value: Value | Nested
    place: str


@dataclass
class Source:
    """What one place says, by field, and what is wrong with it."""

    given: dict[str, Given] = dataclass_field(default_factory=dict)
    problems: list[str] = dataclass_field(default_factory=list)


class ConfigError(Exception):
    """The settings are wrong; the text tells all of it to a person."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n\n".join(self.problems))


def load(directory: Path = BASE_DIR, environ: Mapping[str, str] | None = None) -> Config:
    """Read and check all settings; make the two keys of this installation if nobody has."""
    environ = os.environ if environ is None else environ
    env_file = Path(environ.get(ENV_FILE_VARIABLE) or directory / ".env")
    try:
        # As everywhere, a variable of the environment hides the one in .env, also when it is empty.
        in_env_file = {name: value for name, value in envfile.read(env_file).items() if name not in environ}
        sources = [
            _read_file(directory, environ),
            _read_variables(in_env_file, f" in {env_file}"),
            _read_variables(environ),
        ]
        return _with_keys(_checked(sources), env_file)
    except envfile.EnvFileError as error:
        raise ConfigError([str(error)]) from None


def load_or_exit() -> Config:
    """What settings.py calls: a wrong setting ends any program with a text and without a traceback."""
    try:
        return load()
    except ConfigError as error:
        print(f"\nParley cannot start, because of its settings.\n\n{error}\n", file=sys.stderr, flush=True)
        raise SystemExit(2) from None


def _with_keys(config: Config, env_file: Path) -> Config:
    missing = [name for name in ("SECRET_KEY", "ENCRYPTION_KEY") if not getattr(config, name.lower())]
    if not missing:
        return config
    made = envfile.add_missing_keys(env_file, missing)
    return config.model_copy(update={name.lower(): value for name, value in made.items()})


def _read_file(directory: Path, environ: Mapping[str, str]) -> Source:
    """Give what config.yaml says. It may be missing, unless it was asked for by name."""
    named = environ.get(CONFIG_FILE_VARIABLE)
    path = Path(named) if named else directory / "config.yaml"
    try:
        entries = yamlfile.read_entries(path.read_bytes())
    except FileNotFoundError:
        if named:
            raise ConfigError([f"{CONFIG_FILE_VARIABLE} names {path}, which does not exist."]) from None
        return Source()
    except OSError as error:
        raise ConfigError([f"{path} cannot be read: {error.strerror}."]) from None
    except yamlfile.YAMLFileError as error:
        raise ConfigError([_paragraph(_place(path, error.line), error.sentence)]) from None
    return _source_of(path, entries)


def _source_of(path: Path, entries: list[yamlfile.Entry]) -> Source:
    source = Source()
    first: dict[str, yamlfile.Entry] = {}
    for entry in entries:
        field = FIELD_OF_KEY.get(entry.key)
        if field is None:
            source.problems.append(_paragraph(_place(path, entry.line), *_unknown_key(entry.key)))
        elif field in first:
            source.problems.append(_paragraph(_place(path, entry.line), _doubled(first[field], entry)))
        else:
            first[field] = entry
            if entry.value is not None:
                source.given[field] = Given(entry.value, f"{_place(path, entry.line)}, key {entry.key}")
    return source


def _unknown_key(key: str) -> list[str]:
    near = _nearest(key, FIELD_OF_KEY)
    # What is longer than any name may be a secret that slipped to the left of the colon.
    shown = f"The key {key} is unknown." if len(key) <= 30 and key.isprintable() else "This key is unknown."
    return [shown, f"Did you mean {near}?" if near else f"Known keys: {', '.join(FIELD_OF_KEY)}."]


def _doubled(first: yamlfile.Entry, second: yamlfile.Entry) -> str:
    if first.key == second.key:
        return f"The key {second.key} stands here for the second time; the first is on line {first.line}. Delete one."
    return f"{second.key} is another name of {first.key}, which is already on line {first.line}. Delete one of them."


def _nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that looks most like this one. Capitals, - and _ are what people get wrong most."""
    plain = {name.lower().replace("_", ""): name for name in known}
    near = difflib.get_close_matches(word.lower().replace("_", "").replace("-", ""), plain, n=1, cutoff=0.7)
    return plain[near[0]] if near else None


def _read_variables(environ: Mapping[str, str], where: str = "") -> Source:
    """Give what the variables say. An empty one counts as not set, as `KEY=` in a compose file means it."""
    source = Source(problems=_misspelt(environ, where))
    for field in Config.model_fields:
        for name in reversed(variables_of(field)):
            try:
                found = _read_variable(name, field, environ, where)
            except ConfigError as error:
                source.problems += error.problems
            else:
                source.given |= {field: found} if found else {}
    return source


def _read_variable(name: str, field: str, environ: Mapping[str, str], where: str) -> Given | None:
    value, path = environ.get(name), environ.get(f"{name}_FILE") if field in SECRET_FIELDS else None
    if value and path:
        raise ConfigError([_paragraph(f"Variable {name}{where}", f"{name}_FILE is set as well. Delete one of them.")])
    if path:
        place = f"Variable {name}_FILE{where}"
        return Given(_read_secret_file(path, place), place)
    return Given(value, f"Variable {name}{where}") if value else None


def _read_secret_file(path: str, place: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except UnicodeDecodeError:
        raise ConfigError([_paragraph(place, f"The file {path} is not UTF-8 text.")]) from None
    except OSError as error:
        raise ConfigError([_paragraph(place, f"The file {path} cannot be read: {error.strerror}.")]) from None


def _misspelt(environ: Mapping[str, str], where: str) -> list[str]:
    """A variable that begins with CHAT_ and is nearly one of ours is a mistake; others belong to somebody else."""
    known = {name for field in Config.model_fields for name in variables_of(field)}
    known |= {f"{name}_FILE" for field in SECRET_FIELDS for name in variables_of(field)}
    return [
        _paragraph(f"Variable {name}{where}", f"This variable is unknown. Did you mean {near}?")
        for name in environ
        if (near := _close_variable(name, known)) is not None
    ]


def _close_variable(name: str, known: set[str]) -> str | None:
    if not name.startswith("CHAT_") or name in known or name in (CONFIG_FILE_VARIABLE, ENV_FILE_VARIABLE):
        return None
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.88)
    return near[0] if near else None


# Judging them


def _checked(sources: Iterable[Source]) -> Config:
    """Lay the sources over each other, the last one on top, and judge what is seen then."""
    given: dict[str, Given] = {}
    problems: list[str] = []
    for source in sources:
        given |= source.given
        problems += source.problems
    problems += [_nested_problem(field, entry) for field, entry in given.items() if isinstance(entry.value, Nested)]
    values = {field: entry.value for field, entry in given.items() if not isinstance(entry.value, Nested)}
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(problems + [_value_problem(detail, given) for detail in error.errors()]) from None
    if problems:
        raise ConfigError(problems)
    return config


def _nested_problem(field: str, entry: Given) -> str:
    assert isinstance(entry.value, Nested)
    return _paragraph(entry.place, f"found: {entry.value.kind}", f"right: {what_is_right(field)}")


def _value_problem(detail: ErrorDetails, given: Mapping[str, Given]) -> str:
    key = str(detail["loc"][0])
    field = FIELD_OF_KEY.get(key, key)
    right = detail["ctx"]["right"] if detail["type"] == "wrong" else what_is_right(field)
    return _paragraph(given[field].place, f"found: {_shown(field, given[field].value)}", f"right: {right}")


def _shown(field: str, value: Value | Nested) -> str:
    if field in SECRET_FIELDS:
        return "a value that is not shown, because it is secret"
    if field == "base_url" and "@" in str(value):
        return "an address with a name or password in it, which is not shown"
    text = value if isinstance(value, str) else ", ".join(value) if isinstance(value, list) else value.kind
    return repr(text) if len(text) <= 100 else f"{text[:100]!r}… ({len(text)} characters)"


def what_is_right(field: str) -> str:
    """Say in words what this key accepts, with an example."""
    info = Config.model_fields[field]
    if info.annotation is bool:
        return "true or false"
    if info.annotation in (int, float):
        return f"{_kind(info)} {_bounds(info)}, for example {info.default:g}"
    if get_origin(info.annotation) is Literal:
        return " or ".join(get_args(info.annotation))
    if info.annotation is str:
        return "a word or a text"
    return "a list of words: [one, two], or one word"


def _kind(info: FieldInfo) -> str:
    return "a whole number" if info.annotation is int else "a number of seconds"


def _bounds(info: FieldInfo) -> str:
    bounds = {
        name: value
        for part in info.metadata
        for name in ("gt", "ge", "le")
        if (value := getattr(part, name, None)) is not None
    }
    if "ge" in bounds:
        return f"from {bounds['ge']:g} to {bounds['le']:.0f}"
    return f"over {bounds['gt']:g} and up to {bounds['le']:.0f}"


def _place(path: Path, line: int | None) -> str:
    return f"{path}, line {line}" if line else str(path)


def _paragraph(place: str, *lines: str) -> str:
    return "\n".join([place, *(f"  {line}" for line in lines)])
