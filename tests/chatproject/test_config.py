"""Settings: where they come from, and what is said when they are wrong."""

import base64
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel

from chatproject import config
from chatproject.config import BASE_DIR, SECRET_FIELDS, Config, ConfigError

SECRET = "sk-hunter2-hunter2-hunter2-hunter2-hunter2-hunter2-hunter2"


class Load(Protocol):
    def __call__(self, text: str | bytes | None = None, dotenv: str | None = None, **environ: str) -> Config: ...


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a config.yaml and a .env of these contents, in this environment."""

    def load(text: str | bytes | None = None, dotenv: str | None = None, **environ: str) -> Config:
        if text is not None:
            (tmp_path / "config.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        if dotenv is not None:
            (tmp_path / ".env").write_text(dotenv, "utf-8")
        return config.load(tmp_path, environ)

    return load


def complaint(load: Load, text: str | bytes | None = None, dotenv: str | None = None, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text, dotenv, **environ)
    return str(caught.value)


# Where values come from


def test_the_file_in_the_repository_says_what_is_the_default_anyway(tmp_path: Path) -> None:
    text = (BASE_DIR / "config.yaml").read_bytes()
    (tmp_path / "config.yaml").write_bytes(text)
    loaded = config.load(tmp_path, {})
    assert loaded.model_dump(exclude={"secret_key", "encryption_key"}) == Config().model_dump(
        exclude={"secret_key", "encryption_key"}
    )


def test_the_file_in_the_repository_explains_every_key_in_both_languages_and_names_its_variables() -> None:
    text = (BASE_DIR / "config.yaml").read_text("utf-8")
    blocks = dict(_blocks(text))
    assert list(blocks) == [to_camel(name) for name in Config.model_fields]
    for name in Config.model_fields:
        comment = blocks[to_camel(name)]
        assert re.search(r"[a-z]{3,} [a-z]+", comment), name
        assert re.search(r"[\u4e00-\u9fff]", comment), name
        variables = re.findall(r"\b(?:CHAT_|OPENAI_)?[A-Z_]{4,}\*?", comment.splitlines()[-1])
        star = "*" if name in SECRET_FIELDS else ""
        assert variables == [f"{variable}{star}" for variable in config.variables_of(name)]


def _blocks(text: str) -> list[tuple[str, str]]:
    return [(key, comment) for comment, key in re.findall(r"((?:^#.*\n)+)^(\w+):", text, re.MULTILINE)]


def test_without_a_file_the_defaults_hold(load: Load) -> None:
    assert load().port == 3000


def test_an_empty_file_is_as_good_as_none(load: Load) -> None:
    assert load("").port == load("# nothing\n").port == 3000


def test_a_file_asked_for_by_name_must_exist(load: Load) -> None:
    assert "/nowhere/config.yaml" in complaint(load, CHAT_CONFIG_FILE="/nowhere/config.yaml")


def test_an_empty_value_means_the_default(load: Load) -> None:
    loaded = load("port:\nmodels: ~\nbaseUrl: ''\n")
    assert (loaded.port, loaded.models, loaded.base_url) == (3000, (), "")


def test_a_key_of_digits_stays_as_it_is_written(load: Load) -> None:
    assert load("apiKey: 0123\n").app_key == "0123"


@pytest.mark.parametrize("text", ["models: [a, b]", "models: a, b", "models:\n  - a\n  - b\n"])
def test_a_list_may_be_written_in_three_ways(load: Load, text: str) -> None:
    assert load(text).models == ("a", "b")


@pytest.mark.parametrize("written", ["true", "True", "yes", "on", "1"])
def test_yes_may_be_written_in_many_ways(load: Load, written: str) -> None:
    assert load(f"signUp: {written}").sign_up is True


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(load: Load) -> None:
    assert load(b"\xef\xbb\xbfport: 3001\r\nsignUp: true\r\n").port == 3001


def test_the_environment_goes_before_dotenv_and_dotenv_before_the_file(load: Load) -> None:
    assert load("port: 3001", dotenv="PORT=3002\n", PORT="3003").port == 3003
    assert load("port: 3001", dotenv="PORT=3002\n").port == 3002
    assert load("port: 3001", dotenv="").port == 3001


def test_our_own_name_of_a_variable_goes_before_the_common_one(load: Load) -> None:
    assert load(CHAT_PORT="3001", PORT="3002").port == 3001


def test_an_empty_variable_hides_dotenv_but_not_the_file(load: Load) -> None:
    assert load("port: 3001", dotenv="PORT=3002\n", PORT="").port == 3001


@pytest.mark.parametrize("field", Config.model_fields)
def test_each_key_has_a_variable(load: Load, field: str) -> None:
    samples = {
        "base_url": "http://h/v1",
        "allowed_origins": "https://h",
        "database_url": "postgresql://h/d",
        "redis_url": "redis://h",
        "email_url": "smtp://h",
        "secret_key": "x" * 60,
        "replies_in": "workers",
        "titles": "false",
        "encryption_key": base64.b64encode(b"k" * 32).decode(),
    }
    kinds = {bool: "true", int: "1100", float: "31", str: "word", tuple[str, ...]: "a,b"}
    annotation = Config.model_fields[field].annotation
    value = samples.get(field) or kinds.get(annotation, "a,b")  # type: ignore[arg-type]
    value = {"attempts": "7", "title_characters": "70", "page_messages": "7", "sidebar_conversations": "7"}.get(
        field, value
    )
    assert getattr(load(**{f"CHAT_{field.upper()}": value}), field) != Config.model_fields[field].default


@pytest.mark.parametrize("field", sorted(SECRET_FIELDS - {"database_url", "redis_url", "email_url", "encryption_key"}))
def test_a_secret_may_stand_in_a_file_of_its_own(load: Load, tmp_path: Path, field: str) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    assert getattr(load(**{f"CHAT_{field.upper()}_FILE": str(tmp_path / "secret")}), field) == SECRET


def test_a_variable_of_somebody_else_does_not_matter(load: Load) -> None:
    assert load(CHAT_SERVICE_HOST="10.0.0.1", CHATTER="1").port == 3000


# What is wrong


def test_a_wrong_value_is_told_with_line_key_what_was_found_and_what_is_right(load: Load, tmp_path: Path) -> None:
    assert complaint(load, "# hello\nsignUp: true\nport: 99999\n") == (
        f"{tmp_path}/config.yaml, line 3, key port\n"
        "  found: '99999'\n"
        "  right: a whole number from 1 to 65535, for example 3000"
    )


def test_all_mistakes_are_told_at_once(load: Load) -> None:
    said = complaint(load, "port: x\nprot: 1\ndebug: maybe\nattempts: 0\n", CHAT_ACK_SECONDS="never", PROT="1")
    assert all(word in said for word in ("line 1", "line 2", "line 3", "line 4", "CHAT_ACK_SECONDS"))


@pytest.mark.parametrize(
    ("key", "near"),
    [("prot", "port"), ("app_key", "appKey"), ("intervalsecond", "intervalSeconds"), ("Models", "models")],
)
def test_an_unknown_key_is_told_with_the_nearest_known_one(load: Load, key: str, near: str) -> None:
    assert f"Did you mean {near}?" in complaint(load, f"{key}: 1\n")


def test_an_unknown_key_like_no_other_is_told_with_all_known_ones(load: Load) -> None:
    assert "Known keys: appKey, baseUrl" in complaint(load, "zzz: 1\n")


def test_a_doubled_key_is_told_with_both_lines(load: Load) -> None:
    said = complaint(load, "port: 1\nsignUp: true\nport: 2\n")
    assert "line 3" in said
    assert "the first is on line 1" in said


def test_a_key_under_both_of_its_names_is_refused(load: Load) -> None:
    said = complaint(load, f"appKey: {SECRET}\napiKey: {SECRET}\n")
    assert "apiKey is another name of appKey, which is already on line 1" in said
    assert SECRET not in said


def test_a_variable_and_its_file_at_once_are_refused(load: Load) -> None:
    assert "SECRET_KEY_FILE" in complaint(load, SECRET_KEY="x" * 60, SECRET_KEY_FILE="/somewhere")


def test_a_secret_file_that_is_missing_is_named(load: Load) -> None:
    assert "/nowhere/key" in complaint(load, OPENAI_API_KEY_FILE="/nowhere/key")


def test_a_wrong_variable_is_named(load: Load) -> None:
    assert complaint(load, PORT="many").startswith("Variable PORT\n  found: 'many'\n")


def test_a_wrong_line_of_dotenv_is_named(load: Load, tmp_path: Path) -> None:
    assert f"Variable PORT in {tmp_path}/.env" in complaint(load, dotenv="PORT=many\n")


def test_a_misspelt_variable_is_told_with_the_nearest_known_one(load: Load) -> None:
    assert "Did you mean CHAT_INTERVAL_SECONDS?" in complaint(load, CHAT_INTERVALL_SECONDS="3")


def test_a_tab_is_called_a_tab(load: Load) -> None:
    said = complaint(load, "models:\n\t- a\n")
    assert "line 2" in said
    assert "tab" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n- b\n", "holds a list"),
        ("hello", "holds a single value"),
        ("port 3000\nhost: x", "not valid YAML"),
        ("port: [1", "not valid YAML"),
        ("a: {b: c}", "unknown"),
        ("port: {a: b}", "a mapping"),
        ("models: [[a]]", "a list with something other than words"),
        ("[a, b]: c", "where the name of a key is wanted"),
        ("port: 1\x07", "control character"),
        ("port: &x [*x]", "other than words"),
        ("---\nport: 1\n---\nport: 2\n", "not valid YAML"),
    ],
)
def test_a_file_of_another_shape_is_told_in_words(load: Load, text: str, words: str) -> None:
    assert words in complaint(load, text)


def test_a_file_in_another_encoding_is_told_with_the_line(load: Load) -> None:
    said = complaint(load, "port: 1\nsystemPrompt: 你好\n".encode("gb18030"))
    assert "line 2" in said
    assert "UTF-8" in said


def test_a_file_nested_without_end_is_told_in_words(load: Load) -> None:
    assert "config.yaml" in complaint(load, "[" * 20_000)


def test_a_huge_file_is_told_in_words(load: Load) -> None:
    assert "1 MiB" in complaint(load, "#" * (1024 * 1024 + 1))


def test_a_directory_in_its_place_is_told_in_words(load: Load, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").mkdir()
    assert "cannot be read" in complaint(load)


@pytest.mark.parametrize("number", ["nan", "inf", "-1", "1e400", "0", "0x10", "3601"])
def test_seconds_must_be_such_as_a_clock_knows(load: Load, number: str) -> None:
    assert "a number of seconds over 0 and up to 3600" in complaint(load, f"connectSeconds: '{number}'")


@pytest.mark.parametrize(
    "text",
    [
        "baseUrl: localhost:11434",
        "baseUrl: ftp://h",
        "baseUrl: 'http://'",
        "baseUrl: 'http://[::1'",
        "baseUrl: 'http://h:99999'",
        "redisUrl: localhost",
        "databaseUrl: mysql://h/d",
        "databaseUrl: sqlite://",
        "emailUrl: mail.example.org",
        "allowedOrigins: ['https://h/path']",
        "allowedOrigins: ['*']",
        "allowedOrigins: ['https://*.h']",
        "allowedOrigins: [h.example.org]",
        "allowedHosts: ['https://h']",
        "allowedHosts: ['h:3000']",
        "host: 'http://h'",
        "models: [a]\ndefaultModel: b",
        "retrySeconds: 5\nretryMaxSeconds: 4",
        "encryptionKey: c2hvcnQ=",
        "encryptionKey: '???'",
        "secretKey: short",
    ],
)
def test_what_contradicts_itself_or_leads_nowhere_is_refused(load: Load, text: str) -> None:
    assert "right: " in complaint(load, text)


@pytest.mark.parametrize(
    "text",
    [
        "databaseUrl: sqlite:////tmp/x.sqlite3",
        "databaseUrl: postgresql:///chat",
        "databaseUrl: postgres://a:b@h:1/c",
        "redisUrl: rediss://:p@h:6379/1",
        "redisUrl: unix:///run/redis.sock",
        "emailUrl: smtp+tls://a:b@h",
        "allowedOrigins: ['http://localhost:8080', 'https://h']",
        "allowedHosts: ['.example.org', '[::1]', '*']",
        "host: '::'",
        "models: [a]\ndefaultModel: a",
    ],
)
def test_what_is_right_is_accepted(load: Load, text: str) -> None:
    assert isinstance(load(text), Config)


def test_a_base_url_loses_its_last_slash(load: Load) -> None:
    assert load("baseUrl: http://localhost:11434/v1/").base_url == "http://localhost:11434/v1"


# Secrets stay secret


@pytest.mark.parametrize("field", sorted(SECRET_FIELDS))
def test_no_message_shows_a_wrong_secret(load: Load, field: str) -> None:
    said = complaint(load, f"{to_camel(field)}: [{SECRET}, [x]]\n")
    assert SECRET not in said
    if field != "app_key":  # which may be any word
        said = complaint(load, "", **{f"CHAT_{field.upper()}": SECRET[:20]})
        assert SECRET[:20] not in said
        assert "not shown" in said


@pytest.mark.parametrize(
    "text",
    [f"appKey: '{SECRET}", f"appKey:{SECRET}\nport: 1", f"appKey: *{SECRET}", f"{SECRET}: 1", f"appKey: %{SECRET}"],
)
def test_no_message_about_broken_yaml_shows_a_line_of_it(load: Load, text: str) -> None:
    assert SECRET not in complaint(load, text)


def test_a_config_does_not_show_its_secrets(load: Load) -> None:
    loaded = load(f"appKey: {SECRET}\ndatabaseUrl: postgresql://u:{SECRET}@h/d\n")
    assert SECRET not in f"{loaded!r} {loaded}"
    assert loaded.secret_key not in repr(loaded)


# Keys of the installation


def test_keys_are_made_once_and_kept_where_only_the_owner_reads(load: Load, tmp_path: Path) -> None:
    first, second = load(), load()
    assert (first.secret_key, first.encryption_key) == (second.secret_key, second.encryption_key)
    assert len(base64.urlsafe_b64decode(first.encryption_key)) == 32
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


def test_making_keys_keeps_what_is_in_dotenv(load: Load, tmp_path: Path) -> None:
    load(dotenv="# mine\nPORT=3001")
    text = (tmp_path / ".env").read_text()
    assert text.startswith("# mine\nPORT=3001\nSECRET_KEY=")


def test_a_key_that_is_given_is_not_made(load: Load, tmp_path: Path) -> None:
    key = base64.b64encode(bytes(range(224, 256))).decode()
    loaded = load(SECRET_KEY="x" * 60, ENCRYPTION_KEY=key)
    assert base64.urlsafe_b64decode(loaded.encryption_key) == bytes(range(224, 256))
    assert not (tmp_path / ".env").exists()


def test_two_processes_that_start_at_once_agree_on_the_keys(tmp_path: Path) -> None:
    program = "from pathlib import Path; from chatproject import config; import sys; "
    program += "loaded = config.load(Path(sys.argv[1]), {}); print(loaded.secret_key, loaded.encryption_key)"
    command = [sys.executable, "-c", program, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=BASE_DIR) for _ in range(6)]
    assert len({process.communicate()[0] for process in processes}) == 1
    assert (tmp_path / ".env").read_text().count("SECRET_KEY=") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_told_in_words(load: Load, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert "cannot be written" in complaint(load)
    finally:
        tmp_path.chmod(0o700)


def test_a_place_that_is_no_directory_is_told_in_words(load: Load, tmp_path: Path) -> None:
    assert "cannot be written" in complaint(load, CHAT_ENV_FILE=str(tmp_path / "missing" / ".env"))


# The end of a start


@pytest.mark.parametrize(
    "command", [["manage.py", "check"], ["-m", "uvicorn", "chatproject.asgi:application", "--port", "0"]]
)
def test_a_wrong_setting_ends_any_start_without_a_traceback(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("port: none\n")
    environ = os.environ | {"CHAT_CONFIG_FILE": str(tmp_path / "config.yaml"), "PORT": ""}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=BASE_DIR, env=environ, check=False
    )
    assert done.returncode == 2
    assert "line 1, key port" in done.stderr
    assert "Traceback" not in done.stderr


# Anything at all


def answer(directory: Path, environ: dict[str, str]) -> Config | str:
    """Settings, or the sentence that is said instead; every other error is one of ours."""
    try:
        return config.load(directory, environ)
    except ConfigError as error:
        return str(error)


KEYS = st.sampled_from([to_camel(name) for name in Config.model_fields] + ["apiKey", "prot", "", "?", "- a"])
VALUES = st.one_of(
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["[", "{", "*a", "&a", "|", "'"]),
)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=5))
def test_any_lines_are_settings_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str]]
) -> None:
    directory = tmp_path_factory.getbasetemp() / "lines"
    directory.mkdir(exist_ok=True)
    text = "".join(f"{key}: {value}\n" for key, value in lines)
    (directory / "config.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert answer(directory, {})


@given(st.binary(max_size=200))
def test_any_bytes_are_settings_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    directory = tmp_path_factory.getbasetemp() / "bytes"
    directory.mkdir(exist_ok=True)
    (directory / "config.yaml").write_bytes(content)
    assert answer(directory, {})


@given(
    st.dictionaries(
        st.sampled_from([n for f in Config.model_fields for n in config.variables_of(f)]), st.text(max_size=20)
    )
)
def test_any_variables_are_settings_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]
) -> None:
    directory = tmp_path_factory.getbasetemp() / "variables"
    directory.mkdir(exist_ok=True)
    assert answer(directory, environ)
