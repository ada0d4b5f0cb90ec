"""Whoever reads Chinese reads Chinese: every sentence of templates, modules and scripts, and the pages as they are shown."""

from __future__ import annotations

import gettext
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils.translation.trans_real import translation

from chatproject.config import BASE_DIR
from conversations.models import Conversation, Message
from conversations.words import WORDS
from streaming.models import Provider
from tests.conftest import Chat
from tests.languages import (
    bare_words,
    catalogue,
    is_said_in,
    keys_said,
    modules,
    places_in,
    said_in_module,
    said_in_template,
    scripts,
    templates,
    words_shown,
)

LOCALE = BASE_DIR / "locale/zh_Hans/LC_MESSAGES"


def name_of(path: Path) -> str:
    return str(path.relative_to(BASE_DIR))


def untranslated(sentences: set[str]) -> list[str]:
    """Those that neither we nor Django nor django-allauth have in Chinese."""
    known = translation("zh-hans")._catalog  # type: ignore[attr-defined]
    return sorted(
        sentence for sentence in sentences if sentence.strip() and not (known.get(sentence) or known.get((sentence, 0)))
    )


@pytest.mark.parametrize("path", templates(), ids=name_of)
def test_every_sentence_of_a_template_is_there_in_chinese(path: Path) -> None:
    source = path.read_text("utf-8")
    assert untranslated(set(said_in_template(source))) == []
    assert bare_words(source) == []


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_every_sentence_of_a_module_is_there_in_chinese(path: Path) -> None:
    assert untranslated(set(said_in_module(path.read_text("utf-8")))) == []


@pytest.mark.parametrize("path", scripts(), ids=name_of)
def test_every_word_of_a_script_is_in_the_catalogue(path: Path) -> None:
    source = path.read_text("utf-8")
    assert keys_said(source) - WORDS.keys() == set()


def test_no_word_is_kept_that_no_script_says() -> None:
    sources = [path.read_text("utf-8") for path in scripts()]
    assert [key for key in WORDS if not any(is_said_in(source, key) for source in sources)] == []


def test_what_looks_for_sentences_finds_them() -> None:
    template = '{% load i18n %}{% translate "One" %}{{ x|default:_("Two") }}{% blocktranslate count n=n %}Three {{ n }}{% plural %}Four {{ n }}{% endblocktranslate %}'
    assert {"One", "Two", "Three %(n)s"} <= set(said_in_template(template))
    assert bare_words(f'{template}<p title="Said aloud">Not translated</p><b>Parley</b>') == [
        "Said aloud",
        "Not translated",
    ]
    assert list(said_in_module('x = _("One")\ny = ngettext("Two", "Three", n)\nz = print("Four")')) == ["One", "Two"]
    assert keys_said('say(open ? "one" : "two", { number }); // say("three")') == {"one", "two"}


def test_the_catalogue_is_sure_of_itself_and_keeps_the_places_of_values() -> None:
    ours = catalogue(LOCALE / "django.po")
    assert len(ours) > 300
    assert [english for english, (own, is_fuzzy) in ours.items() if is_fuzzy or not own] == []
    assert [english for english, (own, _) in ours.items() if not places_in(english) <= places_in(own)] == []


def test_what_is_served_is_what_is_written() -> None:
    with (LOCALE / "django.mo").open("rb") as file:
        served = gettext.GNUTranslations(file)
    known = set(served._catalog.values())  # type: ignore[attr-defined]
    assert [english for english, (own, _) in catalogue(LOCALE / "django.po").items() if own not in known] == []


# Pages as they are shown

#: What a page shows that is nobody's to translate: what was said, names of people, of models and of languages.
QUIET = frozenset(
    {
        "message-text",
        "initial",
        "user-name",
        "entry-link",
        "page-title",
        "search-hit",
        "model-only",
        "message-facts",
        "languages",
        "said",
        "field-name",
    }
)


@pytest.fixture
def chinese(admin_user: User) -> Client:
    client = Client(headers={"Accept-Language": "zh-CN"})
    client.force_login(admin_user)
    return client


@pytest.mark.django_db
def test_pages_in_chinese_say_nothing_in_english(chinese: Client, admin_user: User, chat: Chat) -> None:
    chat(app_key="", models=("small", "large"))
    conversation = Conversation.start(admin_user)
    conversation.head = Message.objects.create(
        conversation=conversation, role="assistant", status="stopped", text="茶", reasoning="想", model="small"
    )
    conversation.save()
    paths = [
        "/", f"/conversations/{conversation.pk}/", f"/conversations/{conversation.pk}/settings/", "/search/", "/search/?q=茶",
        "/search/?q=水", "/archive/", "/prompts/", "/accounts/password/change/", "/accounts/logout/", "/accounts/email/", "/nothing/",
    ]  # fmt: skip
    for path in paths:
        page = chinese.get(path, follow=True).content.decode()
        assert 'lang="zh-hans"' in page
        assert [path, *(words for words in words_shown(page, QUIET) if words != admin_user.email)] == [path]


@pytest.mark.django_db
def test_doors_in_chinese_say_nothing_in_english(client: Client, chat: Chat) -> None:
    chat(sign_up=True)
    for path in ("login", "signup", "password/reset", "password/reset/done", "inactive", "confirm-email"):
        page = client.get(f"/accounts/{path}/", headers={"Accept-Language": "zh-CN"}).content.decode()
        assert [path, *words_shown(page, QUIET)] == [path]
    wrong = client.post("/accounts/login/", {"login": "x", "password": "y"}, headers={"Accept-Language": "zh-CN"})
    assert words_shown(wrong.content.decode(), QUIET) == []


@pytest.mark.django_db
def test_the_administration_in_chinese_says_nothing_in_english(chinese: Client, admin_user: User) -> None:
    provider = Provider.objects.create(name="家", base_url="https://home.example/v1", model_list="small")
    conversation = Conversation.start(admin_user)
    # "Search" is the name that Django gives to a picture, in English alone.
    names = ("admin", "https://home.example/v1", "small", "sk-…", "API", "Search")
    for path in (
        "/admin/", "/admin/conversations/conversation/", "/admin/conversations/message/", "/admin/streaming/provider/",
        f"/admin/conversations/conversation/{conversation.pk}/change/", f"/admin/streaming/provider/{provider.pk}/change/",
        "/admin/streaming/provider/add/",
    ):  # fmt: skip
        page = chinese.get(path).content.decode()
        shown = [words for words in words_shown(page, QUIET) if words not in names]
        assert shown == []
