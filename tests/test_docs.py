"""The pages under docs/ say what is so: dependencies, links, names, and the client that they show."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from chatproject.config import BASE_DIR
from conversations.models import Message
from conversations.words import SENTENCES, WORDS, without_time
from streaming import events
from streaming.views import STATUSES
from tests.conftest import LiveServer
from tests.scripts import many
from tests.upstream import Upstream

DOCS = BASE_DIR / "docs"
PAGES = [BASE_DIR / "README.md", BASE_DIR / "README.zh.md", *sorted(DOCS.glob("*.md"))]


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def section(text: str, title: str) -> str:
    """What stands under a heading, up to the next one as high."""
    level = "#" * (len(title) - len(title.lstrip("#")))
    return re.split(rf"^{level} ", text.partition(f"{title}\n")[2], flags=re.MULTILINE)[0]


def first_column(text: str) -> list[str]:
    """The first cells of the tables in a text, without heads and marks of code."""
    cells = re.findall(r"^\| (.+?) \|", text, re.MULTILINE)
    return [cell.replace("`", "") for cell in cells if cell != "---" and cell not in ("package", "type", "code")]


# Dependencies


def required(name: str) -> list[str]:
    lines = (BASE_DIR / name).read_text("utf-8").splitlines()
    return [re.split(r"[\[=]", line)[0] for line in lines if re.match(r"[a-z]", line)]


def test_each_dependency_has_its_reason_and_no_reason_is_left_over() -> None:
    text = page("dependencies.md")
    package = json.loads((BASE_DIR / "package.json").read_text("utf-8"))
    assert sorted(first_column(section(text, "## Python, to run (`requirements.txt`)"))) == sorted(
        required("requirements.txt")
    )
    assert sorted(first_column(section(text, "## Python, to check (`requirements-dev.txt`)"))) == sorted(
        required("requirements-dev.txt")
    )
    assert sorted(first_column(section(text, "## The page (`package.json`)"))) == sorted(
        package["dependencies"] | package.get("devDependencies", {})
    )


# Links and names


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_and_picture_leads_somewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    assert [target for target in targets if not leads_somewhere(path, target)] == []


def leads_somewhere(path: Path, target: str) -> bool:
    file, _, anchor = target.partition("#")
    if re.match(r"https?:", target):
        return True
    there = path.parent / file if file else path
    return there.exists() and (not anchor or anchor in anchors(there))


def anchors(path: Path) -> set[str]:
    """The anchors of the headings, as the hosts of repositories make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_file_and_test_that_is_named_exists(path: Path) -> None:
    text = path.read_text("utf-8")
    files = set(re.findall(r"`((?:\w+/)+[\w.]*\.(?:py|js|json|css|html))`", text))
    assert [name for name in files if not (BASE_DIR / name).exists()] == []
    tests = "\n".join(found.read_text("utf-8") for found in (BASE_DIR / "tests").rglob("*.py"))
    named = set(re.findall(r"`(test_\w+)`", text))
    assert [name for name in named if f"def {name}(" not in tests] == []


@pytest.mark.parametrize("name", ["life-of-a-message.md", "reliability.md", "security.md"])
def test_every_function_that_is_named_exists(name: str) -> None:
    source = "\n".join(
        found.read_text("utf-8")
        for folder in ("chatproject", "conversations", "streaming", "static/js")
        for found in (BASE_DIR / folder).rglob("*.*")
        if found.suffix in (".py", ".js")
    )
    named = set(re.findall(r"`#?(?:\w+\.)?([a-z_]\w*)\(?\)?`", page(name)))
    words = set(re.findall(r"\w+", source)) | set(re.findall(r"\w+", outside_of_python()))
    assert [name for name in named if name not in words and not name.startswith("test_")] == []


def outside_of_python() -> str:
    """Files with names of their own, which the pages also speak about."""
    named = ["Makefile", "config.yaml", "requirements.txt", "package.json", "docker-compose.yml", "tools/serve"]
    return "\n".join((BASE_DIR / name).read_text("utf-8") for name in named) + "\n".join(
        str(path.relative_to(BASE_DIR)) for path in (BASE_DIR / "tests").rglob("*.py")
    )


@pytest.mark.parametrize("table", ["## The provider", "## The server"])
def test_every_sentence_about_a_fault_is_one_that_the_page_can_say(table: str) -> None:
    cells = re.findall(r"^\|[^|]+\|[^|]+\| ([A-Z][^|]+\.) \|", section(page("reliability.md"), table), re.MULTILINE)
    assert len(cells) >= 3
    known = {*SENTENCES, *(str(sentence) for sentence in WORDS.values())}
    assert [sentence for sentence in cells if without_time(sentence) not in known] == []


# The protocol


def test_the_protocol_names_every_command() -> None:
    named = first_column(section(page("protocol.md"), "## Commands"))
    assert set(events.COMMANDS) - set(named) == set()


def test_the_protocol_names_every_refusal_and_its_status() -> None:
    text = page("protocol.md")
    assert set(STATUSES) - set(first_column(section(text, "### Answers"))) == set()
    for code, status in STATUSES.items():
        assert re.search(rf"`{code}`[^0-9]* {status}\b", text), code


def test_the_protocol_names_every_close_code() -> None:
    codes = {str(code) for name, code in vars(events.Close).items() if name.isupper()}
    assert set(first_column(section(page("protocol.md"), "## Close codes"))) == codes


def test_every_example_of_the_protocol_is_json() -> None:
    examples = re.findall(r"```json\n(.*?)```", page("protocol.md"), re.DOTALL)
    assert len(examples) == 5
    decoder = json.JSONDecoder()
    for example in examples:
        rest = example.strip()
        while rest:
            _, end = decoder.raw_decode(rest)
            rest = rest[end:].strip()


@pytest.mark.django_db(transaction=True)
async def test_the_client_in_python_prints_the_reply(
    server: LiveServer, upstream: Upstream, alice: User, tmp_path: Path
) -> None:
    script = many(200, pace=0.002)
    upstream.answer(script)
    alice.set_password("a password of alice")
    await alice.asave()
    client = tmp_path / "ask.py"
    client.write_text(re.findall(r"```python\n(.*?)```", page("protocol.md"), re.DOTALL)[0])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", client, server.url, "alice", "a password of alice", "Why is the sky blue?",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, _ = await asyncio.wait_for(process.communicate(), 60)
    assert printed.decode() == f"{script.text}\n[done, whole]\n"
    assert await Message.objects.filter(role="user", text="Why is the sky blue?").aexists()
