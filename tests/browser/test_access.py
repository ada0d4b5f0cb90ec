"""Every page, in every state that it can be in, as somebody meets it who sees little, or not at all, or has no mouse."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.template.loader import render_to_string
from django.test import RequestFactory
from playwright.async_api import Browser, Route, expect

from conversations.models import Conversation, Membership, Prompt, Shelf
from conversations.status import Status
from streaming.models import APIKey, Provider
from tests.browser.conftest import OpenPage, Visit
from tests.browser.judge import DESKTOP, PHONE, Judge, walk
from tests.browser.test_finding import say
from tests.conftest import Chat, LiveServer
from tests.proxy import Proxy
from tests.scripts import Hold, Reason, Script, overloaded
from tests.upstream import Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]


@pytest_asyncio.fixture(loop_scope="package")
async def judge() -> AsyncIterator[Judge]:
    judge = Judge()
    yield judge
    assert judge.looks
    if judge.found:
        pytest.fail("\n".join(judge.found))


@pytest_asyncio.fixture(loop_scope="package")
async def stranger(open_page: OpenPage) -> Visit:
    """Nobody, with a page on which nothing moves."""
    return await open_page(viewport=DESKTOP, reduced_motion="reduce")


@pytest_asyncio.fixture(loop_scope="package")
async def reader(alice: User, stranger: Visit) -> Visit:
    await stranger.sign_in()
    return stranger


async def test_the_pages_of_accounts(stranger: Visit, alice: User, judge: Judge, chat: Chat) -> None:
    chat(sign_up=True)
    page, url = stranger.page, stranger.server.url
    for path in ("login", "signup", "password/reset", "password/reset/done", "inactive", "password/reset/key/1-abc"):
        await page.goto(f"{url}/accounts/{path}/")
        await judge.look(page, path)
    await stranger.enter_password("wrong")
    await expect(page.get_by_text(re.compile("not correct"))).to_be_visible()
    await judge.look(page, "wrong password")
    chat(sign_up=False)
    await page.goto(f"{url}/accounts/signup/")
    await judge.look(page, "no sign-up")
    await stranger.sign_in()
    for path in ("password/change", "logout", "email"):
        await page.goto(f"{url}/accounts/{path}/")
        await judge.look(page, path)


ERRORS = ["400", "403", "403_csrf", "404", "429", "500"]


async def test_the_pages_of_errors(stranger: Visit, judge: Judge) -> None:
    async def answer(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        await route.fulfill(body=render_to_string(f"{name}.html", request=RequestFactory().get("/")))

    await stranger.page.route("**/error/*", answer)
    for name in ERRORS:
        await stranger.page.goto(f"{stranger.server.url}/error/{name}")
        await expect(stranger.page.get_by_role("heading", level=1)).to_be_visible()
        await judge.look(stranger, name)


# Conversations

MARKDOWN = """# A heading

Some **bold**, *slanted* and ~~struck~~ words with `code`, [a link](https://example.org/there) and https://example.org.

- one
  - nested
    1. deeper
- two

- [x] done
- [ ] to do

| name | number | words that take some room in a cell of a table | and another column | and one more |
|:-----|-------:|:----:|---|---|
| 漢字 | 1 | `code` | **bold** | [link](https://example.org) |

> Somebody said
>
> > and somebody else

```python
def merge(spans: list[Span]) -> list[Span]:  # a comment that is long enough to reach over the edge of the block, surely
    return [span for span in sorted(spans) if span.end > 12]  # "text"
```

```diff
- old
+ new
```

    indented

$e^{i\\pi} + 1 = 0$ and

$$\\int_0^1 x^2\\,dx = \\frac{1}{3}$$

![a chart](https://example.org/chart.png)

## Another heading

---

### A deeper one

The end.
"""

LONG = "A question that goes on for so long that it is folded. " * 40


@database_sync_to_async
def conversation_of(user: User, *messages: dict[str, Any], title: str = "Tea and 茶") -> str:
    """The path of a conversation that says this, and is running nothing."""
    conversation = Conversation.start(user)
    conversation.title = title
    conversation.save(update_fields=["title"])
    for message in messages:
        fields = {"role": "assistant", "model": "small", "text": "", **message}
        if fields["role"] == "user":
            fields["author"] = user
        say(conversation, fields.pop("role"), fields.pop("text"), **fields)
    return f"/conversations/{conversation.pk}/"


def asks(text: str = "What is tea?") -> dict[str, Any]:
    return {"role": "user", "text": text}


async def until_drawn(visit: Visit) -> None:
    await expect(visit.page.locator(".katex").first).to_be_visible()
    await expect(visit.page.locator("[class^=hljs]").first).to_be_attached()


async def test_a_conversation_with_all_that_can_be_said(reader: Visit, alice: User, judge: Judge) -> None:
    await judge.look(reader, "first visit")
    await reader.page.get_by_role("main").locator("summary", has_text="Settings").click()
    await judge.look(reader, "settings of a new conversation", root="main")
    facts = {"usage": {"prompt_tokens": 12, "completion_tokens": 34, "estimated": True}, "finish_reason": "stop"}
    path = await conversation_of(
        alice, asks(LONG), {"text": MARKDOWN, "reasoning": "Let me think.\n\nStill thinking.", **facts}
    )
    await reader.goto(path)
    await until_drawn(reader)
    await judge.look(reader, "conversation")
    await reader.reply.get_by_text("Reasoning").click()
    await reader.reply.hover()
    await judge.look(reader, "reasoning open", root="main")
    await reader.page.set_viewport_size(DESKTOP)
    await reader.page.get_by_role("button", name="Wrap long lines").first.click()
    await reader.question.hover()
    await reader.question.get_by_role("button", name="Edit and send again").click()
    await judge.look(reader, "editing", root="main")
    await reader.question.get_by_role("button", name="Cancel").click()
    await reader.reply.locator("p").first.select_text()
    await expect(reader.page.get_by_role("button", name="Quote")).to_be_visible()
    await judge.look(reader, "quoting", root="#quote")


BROKEN = {"code": "overloaded", "detail": "The model is overloaded.", "retryable": True}


async def test_replies_that_did_not_end_well(reader: Visit, alice: User, judge: Judge) -> None:
    ends: dict[Status, dict[str, Any]] = {
        Status.STOPPED: {"text": "Tea is"},
        Status.INTERRUPTED: {"text": "Tea is", "error": BROKEN},
        Status.FAILED: {"error": BROKEN},
        Status.DONE: {"text": "Tea is", "finish_reason": "length"},
    }
    for status, fields in ends.items():
        path = await conversation_of(alice, asks(), {"status": status, **fields})
        await reader.goto(path)
        await expect(reader.reply.locator(".message-state")).to_be_visible()
        await judge.look(reader, status, root="main")
    await reader.goto(f"{path}settings/")
    await judge.look(reader, "page of settings")


async def test_a_reply_on_its_way(reader: Visit, judge: Judge, upstream: Upstream, chat: Chat) -> None:
    chat(retry_max_seconds=120.0, interval_seconds=0)
    upstream.answer(
        overloaded("60"),
        Script([Reason("Let me think."), Hold(), "# Tea\n\n- is **good", Hold(), "**."]),
        Script(["No."]),
    )
    await reader.ask("What is tea?")
    await expect(reader.reply.locator(".message-words")).to_contain_text("overloaded")
    await judge.look(reader, "waiting", root="main")
    await reader.stop_button.click()
    await expect(reader.reply).to_contain_text("Stopped.")
    await reader.ask("What is tea?")
    await expect(reader.reply).to_contain_text("Let me think.")
    await judge.look(reader, "thinking", root="main")
    upstream.posts[1].go_on()
    await expect(reader.reply.locator("li strong")).to_be_visible()
    await reader.composer.fill("And coffee?")
    await reader.composer.press("Enter")
    await judge.look(reader, "streaming")
    upstream.posts[1].go_on()
    await expect(reader.stop_button).to_be_hidden()
    await reader.reply.get_by_role("button", name="Another reply", exact=True).click()
    await expect(reader.reply).to_contain_text("2 / 2")
    await expect(reader.stop_button).to_be_hidden()
    await reader.reply.locator("summary[aria-label^='Another reply with']").click()
    await judge.look(reader, "branches and models")


async def test_a_connection_that_is_lost(browser: Browser, server: LiveServer, alice: User, judge: Judge) -> None:
    async with Proxy(server.url) as proxy:
        page = await browser.new_page(viewport=DESKTOP, reduced_motion="reduce")
        visit = Visit(page, LiveServer(proxy.url))
        await visit.sign_in()
        await visit.goto(await conversation_of(alice, asks(), {"text": "Tea is a drink."}))
        proxy.listener.close()
        await proxy.cut_all()
        await expect(visit.page.locator("#connection")).to_contain_text("No connection")
        await visit.composer.fill("And coffee?")
        await visit.composer.press("Enter")
        await expect(visit.question).to_contain_text("Not sent yet")
        await judge.look(visit, "offline")
        await page.close()


# What opens over a page


async def test_menus_and_dialogs(reader: Visit, alice: User, judge: Judge, chat: Chat) -> None:
    chat(undo_seconds=0)  # deleting asks first
    await conversation_of(alice, asks(), {"text": "A drink."}, title="First of all")
    path = await conversation_of(alice, asks(), {"text": "Tea is a drink."})
    await reader.goto(path)
    page = reader.page
    entry = reader.sidebar.get_by_role("listitem").first
    menu = entry.get_by_label("What to do with this conversation")
    await page.locator("summary", has_text="Settings and sign out").click()
    await judge.look(reader, "settings", root="#sidebar", sizes=("desktop",))
    await page.keyboard.press("Escape")
    await menu.click()
    await judge.look(reader, "menu of a conversation", root="#sidebar", sizes=("desktop",))
    for name in ("Rename", "Folder …", "Delete"):
        await entry.get_by_role("button", name=name).click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await judge.look(reader, name)
        await page.keyboard.press("Escape")
        await menu.click()
    await entry.get_by_role("button", name="Put away").click()
    await expect(page.locator("#toast")).to_be_visible()
    await judge.look(reader, "toast", root="#toast")
    await page.keyboard.press("Control+/")
    await judge.look(reader, "keys")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Control+,")
    await expect(page.get_by_label("System prompt")).to_be_visible()
    await judge.look(reader, "settings of the conversation")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Control+k")
    options = page.get_by_role("dialog").get_by_role("option")
    await expect(options.first).to_be_visible()
    await judge.look(reader, "palette, recent")
    await page.keyboard.type("drink")
    await expect(options.first.locator("mark")).to_be_visible()
    await judge.look(reader, "palette, found")
    await page.keyboard.type("ing water")
    await expect(page.get_by_text("Nothing was found")).to_be_visible()
    await judge.look(reader, "palette, nothing")
    await page.keyboard.press("Escape")
    await page.set_viewport_size(PHONE)
    await page.get_by_role("button", name="Show the conversations").click()
    await judge.look(reader, "drawer", sizes=("phone",))


async def test_what_is_found_and_put_away(reader: Visit, alice: User, judge: Judge) -> None:
    for path, state in (
        ("/search/", "search, empty"),
        ("/search/?q=tea", "search, nothing"),
        ("/archive/", "archive, empty"),
    ):
        await reader.goto(path)
        await judge.look(reader, state)
    for number in range(3):
        await conversation_of(alice, asks(), {"text": "Tea is a drink. " * 9}, title=f"Number {number} " * number * 5)
    await Membership.objects.filter(conversation__title__contains="1").aupdate(shelf=Shelf.ARCHIVED)
    await Membership.objects.filter(conversation__title__contains="2").aupdate(shelf=Shelf.PINNED)
    for path in ("/search/", "/search/?q=tea", "/archive/"):
        await reader.goto(path)
        await judge.look(reader, path)


async def test_prompts_and_what_is_temporary(reader: Visit, alice: User, bob: User, judge: Judge) -> None:
    page = reader.page
    await reader.goto("/prompts/")
    await judge.look(reader, "prompts, none")
    await reader.goto("/")
    await page.keyboard.type("/")
    await expect(page.get_by_text("There are no prompts yet.")).to_be_visible()
    await judge.look(reader, "slash, no prompts", root="main")
    mine = await Prompt.objects.acreate(owner=alice, name="Translate", text="Translate {{text}}. " * 9, shared=True)
    other = await Prompt.objects.acreate(owner=bob, name="Summarize", text="In five lines:\n\n{{text}}", shared=True)
    for path in ("", "new/", f"{mine.pk}/", f"{other.pk}/"):
        await reader.goto(f"/prompts/{path}")
        if path == f"{mine.pk}/":
            await page.get_by_text("Delete this prompt").click()
        await judge.look(reader, f"prompts/{path}", root="main")
    await reader.goto("/prompts/new/")
    await page.get_by_role("textbox", name="Name", exact=True).fill("Translate")
    await page.get_by_role("textbox", name="Text", exact=True).fill("?")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("There is a prompt with this name already.")).to_be_visible()
    await judge.look(reader, "a prompt that is refused", root="main")
    assert [problem for problem in reader.problems if "400" not in problem] == []
    reader.problems.clear()  # the browser reports each answer that says no
    await reader.goto("/")
    await reader.composer.fill("/")
    await expect(page.get_by_role("listbox", name="Prompts").get_by_role("option")).to_have_count(2)
    await judge.look(reader, "slash", root="main")
    await page.keyboard.press("Escape")
    await page.get_by_role("checkbox", name="Temporary").check()
    await judge.look(reader, "to be temporary", root="main")
    await reader.ask("word " * 900)
    await expect(reader.reply).to_contain_text("You said")
    await reader.composer.fill("word " * 900)
    await judge.look(reader, "temporary")


# Chinese, and the administration


@pytest_asyncio.fixture(loop_scope="package")
async def chinese(open_page: OpenPage, alice: User) -> Visit:
    visit = await open_page(viewport=DESKTOP, reduced_motion="reduce", locale="zh-CN")
    await visit.sign_in()
    return visit


async def test_pages_in_chinese(chinese: Visit, alice: User, judge: Judge) -> None:
    talk = await conversation_of(
        alice, asks("茶是什么？"), {"text": "茶是一种饮料。\n\n**喝**吧。", "reasoning": "想一想。"}
    )
    for path in ("/", talk, "/search/?q=茶", "/archive/", "/accounts/password/change/"):
        await chinese.page.goto(chinese.server.url + path)
        await expect(chinese.page.locator("html")).to_have_attribute("lang", "zh-hans")
        await judge.look(chinese, path)


@database_sync_to_async
def history_of(user: User) -> dict[str, str]:
    """Pages of the administration that have something to show."""
    provider = Provider.objects.create(name="Home", base_url="https://home.example/v1", model_list="small\nlarge")
    key = APIKey(provider=provider, label="Team")
    key.put("a-secret-which-no-pattern-knows-1234")
    key.save()
    conversation = Conversation.start(user)
    conversation.rename(user, "Tea and 茶")
    say(conversation, "user", "What is tea?", author=user)
    say(conversation, "assistant", "Tea is", status=Status.STOPPED, model="small", provider="Home", finish_reason="")
    say(
        conversation,
        "assistant",
        "A drink.",
        model="small",
        parent=conversation.messages.get(role="user"),
        error=BROKEN,
    )
    history = "/admin/conversations/"
    return {
        "index": "/admin/",
        "conversations": f"{history}conversation/",
        "messages": f"{history}message/?q=tea",
        "transcript": f"{history}conversation/{conversation.pk}/change/",
        "message": f"{history}message/{conversation.head_id}/change/",
        "providers": "/admin/streaming/provider/",
        "provider": f"/admin/streaming/provider/{provider.pk}/change/",
        "new provider": "/admin/streaming/provider/add/",
    }


async def test_the_administration(stranger: Visit, admin_user: User, judge: Judge) -> None:
    # Django names its field for searching by a picture, which is a name but not one that can be read.
    judge.off = ["label-title-only"]
    paths = await history_of(admin_user)
    await stranger.sign_in("admin")
    page, url = stranger.page, stranger.server.url
    for name, path in paths.items():
        await page.goto(url + path)
        await judge.look(page, f"admin, {name}")
    await page.goto(url + paths["transcript"])
    await page.get_by_role("button", name="Delete …").click()
    await expect(page.get_by_text("These conversations disappear")).to_be_visible()
    await judge.look(page, "admin, deleting")
    await page.goto(url + paths["new provider"])
    await page.get_by_role("button", name="Save", exact=True).click()
    await judge.look(page, "admin, errors in a form")


# By keyboard


async def test_whoever_has_no_mouse_sees_where_she_is(reader: Visit, alice: User) -> None:
    path = await conversation_of(alice, asks(LONG), {"text": MARKDOWN}, asks(), {"text": MARKDOWN, "reasoning": "Hm."})
    page, found = reader.page, []
    for size in (DESKTOP, PHONE):
        await page.set_viewport_size(size)
        for name, least in (("/", 5), (path, 20), ("/search/?q=tea", 5), ("/archive/", 2), ("/accounts/email/", 3)):
            await page.goto(reader.server.url + name)
            await expect(page.locator("html[data-alive], .card-page")).to_be_attached()
            stops, wrong = await walk(page)
            found += [f"{name}, {size['width']} px: {each}" for each in wrong]
            assert stops >= least
    assert found == []


async def test_what_is_chosen_shows_without_colours(reader: Visit, alice: User) -> None:
    await conversation_of(alice, asks(), {"text": "Tea is a drink."})
    await reader.page.emulate_media(forced_colors="active")
    await reader.goto("/")
    await reader.page.locator("summary", has_text="Settings and sign out").click()
    for state in ('.choice [aria-pressed="true"]', ".sidebar [aria-current]"):
        await expect(reader.page.locator(state).first).not_to_have_css("outline-style", "none")
    await reader.page.keyboard.press("Escape")
    await reader.page.keyboard.press("Control+k")
    await expect(reader.page.locator('#palette [aria-selected="true"]')).not_to_have_css("outline-style", "none")
