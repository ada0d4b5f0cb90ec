"""The page in a real browser: what a person does, and what she sees."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from playwright.async_api import Browser, expect

from conversations.models import Message
from tests.browser.conftest import OpenPage, Visit
from tests.conftest import Chat, LiveServer, StartProcess
from tests.scripts import Drop, Hold, Reason, Script, Stall, refuses
from tests.upstream import Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]


async def test_a_person_signs_in_asks_and_sees_the_reply_stream(visit: Visit, upstream: Upstream) -> None:
    upstream.answer(Script(["One, ", "two, ", Hold(), "three."]))
    await visit.ask("Count to three.")
    await expect(visit.question).to_contain_text("Count to three.")
    await expect(visit.reply).to_contain_text("One, two,")
    await expect(visit.stop_button).to_be_visible()
    upstream.posts[0].go_on()
    await expect(visit.reply).to_contain_text("One, two, three.")
    await expect(visit.stop_button).to_be_hidden()
    await expect(visit.page).to_have_title(re.compile("Count to three"))
    await expect(visit.sidebar).to_contain_text("Count to three.")


async def test_a_wrong_password_is_told_in_words_and_the_right_one_lets_in(alice: User, open_page: OpenPage) -> None:
    alice.set_password("correct horse battery staple")
    await alice.asave()
    visit = await open_page()
    await visit.enter_password("wrong")
    await expect(visit.page.get_by_text(re.compile("not correct"))).to_be_visible()
    await visit.enter_password("correct horse battery staple")
    await visit.until_alive()
    await expect(visit.composer).to_be_visible()


async def test_a_reload_in_the_middle_loses_nothing(visit: Visit, upstream: Upstream) -> None:
    upstream.answer(Script(["One, ", "two, ", Hold(), "three."]))
    await visit.ask("Count.")
    await expect(visit.reply).to_contain_text("One, two,")
    await visit.reload()
    await expect(visit.reply).to_contain_text("One, two,")
    upstream.posts[0].go_on()
    await expect(visit.reply).to_contain_text("One, two, three.")
    assert len(upstream.posts) == 1


async def test_a_conversation_is_found_again_tomorrow(visit: Visit, alice: User, open_page: OpenPage) -> None:
    await visit.ask("Remember the milk")
    await expect(visit.reply).to_contain_text("You said: Remember the milk")
    await visit.page.context.close()
    tomorrow = await open_page()
    await tomorrow.sign_in()
    await tomorrow.page.get_by_role("link", name="Remember the milk").click()
    await expect(tomorrow.reply).to_contain_text("You said: Remember the milk")


async def test_stop_keeps_what_was_said(visit: Visit, upstream: Upstream) -> None:
    upstream.answer(Script(["Hello, ", "world", Stall()]))
    await visit.ask("Talk")
    await expect(visit.reply).to_contain_text("Hello, world")
    await visit.stop_button.click()
    await expect(visit.reply).to_contain_text("Stopped.")
    await expect(visit.stop_button).to_be_hidden()
    await upstream.posts[0].until_closed()
    assert (await Message.objects.aget(role="assistant")).text == "Hello, world"


async def test_an_edited_question_is_a_branch_and_arrows_lead_back(visit: Visit) -> None:
    await visit.ask("First wording")
    await expect(visit.reply).to_contain_text("You said: First wording")
    await visit.question.hover()
    await visit.question.get_by_role("button", name="Edit and send again").click()
    await visit.question.get_by_role("textbox").fill("Second wording")
    await visit.question.get_by_role("button", name="Send", exact=True).click()
    await expect(visit.reply).to_contain_text("You said: Second wording")
    await expect(visit.question).to_contain_text("2 / 2")
    await visit.question.get_by_role("button", name="Previous version").click()
    await expect(visit.question).to_contain_text("First wording")
    await expect(visit.reply).to_contain_text("You said: First wording")
    await visit.reload()
    await expect(visit.question).to_contain_text("First wording")


async def test_a_line_shows_where_the_sight_of_the_model_begins(visit: Visit, chat: Chat) -> None:
    chat(context_tokens=40)
    line = visit.page.get_by_text("The model sees the conversation from here on")
    await visit.ask("first " * 30)
    await expect(visit.reply).to_contain_text("You said: first")
    await expect(line).to_be_hidden()
    await visit.ask("second")
    await expect(visit.reply).to_contain_text("You said: second")
    await expect(line).to_be_visible()
    await visit.reload()
    await expect(line).to_be_visible()
    above = await line.evaluate("line => line.nextElementSibling.textContent")
    assert "second" in above


async def test_another_reply_stands_beside_the_first(visit: Visit, upstream: Upstream) -> None:
    upstream.answer(Script(["The first."]), Script(["The second."]))
    await visit.ask("Try")
    await expect(visit.reply).to_contain_text("The first.")
    await visit.reply.hover()
    await visit.reply.get_by_role("button", name="Another reply", exact=True).click()
    await expect(visit.reply).to_contain_text("The second.")
    await visit.reply.get_by_role("button", name="Previous version").click()
    await expect(visit.reply).to_contain_text("The first.")


async def test_a_second_tab_shows_the_same(visit: Visit, open_page: OpenPage, upstream: Upstream) -> None:
    upstream.answer(Script(["One, ", Hold(), "two."]))
    await visit.ask("Count.")
    await expect(visit.reply).to_contain_text("One,")
    other = await open_page()
    await other.sign_in()
    await other.goto(urlsplit(visit.page.url).path)
    await expect(other.reply).to_contain_text("One,")
    upstream.posts[0].go_on()
    for tab in (visit, other):
        await expect(tab.reply).to_contain_text("One, two.")
    await other.ask("And from here?")
    await expect(visit.reply).to_contain_text("You said: And from here?")


async def test_enter_sends_and_shift_enter_breaks_the_line(visit: Visit) -> None:
    await visit.composer.press_sequentially("One")
    await visit.composer.press("Shift+Enter")
    await visit.composer.press_sequentially("two")
    await visit.composer.press("Enter")
    await expect(visit.reply).to_contain_text("You said: One")
    assert (await Message.objects.aget(role="user")).text == "One\ntwo"


async def test_who_chooses_so_sends_with_ctrl_enter_and_reads_larger(visit: Visit) -> None:
    await visit.page.locator("summary", has_text="Settings and sign out").click()
    await visit.page.get_by_role("button", name="Ctrl + Enter").click()
    before = await visit.composer.evaluate("field => parseFloat(getComputedStyle(field).fontSize)")
    await visit.page.get_by_role("button", name="Larger").click()
    await visit.reload()
    assert await visit.composer.evaluate("field => parseFloat(getComputedStyle(field).fontSize)") == 1.25 * before
    await visit.composer.press_sequentially("One")
    await visit.composer.press("Enter")
    await visit.composer.press_sequentially("Two")
    await visit.composer.press("Control+Enter")
    await visit.until_in_a_conversation()
    await expect(visit.question.locator(".message-text")).to_have_text("One\nTwo")
    await visit.page.keyboard.press("Control+/")
    keys = visit.page.get_by_role("dialog", name="Keyboard shortcuts").locator("dl > div")
    await expect(keys.filter(has_text=re.compile("^Send"))).to_contain_text("Ctrl Enter", use_inner_text=True)
    await expect(keys.filter(has_text=re.compile("^New line"))).not_to_contain_text("Shift", use_inner_text=True)


async def test_a_draft_survives_a_reload(visit: Visit) -> None:
    await visit.ask("First")
    await expect(visit.reply).to_contain_text("You said: First")
    await visit.composer.press_sequentially("Half a thought")
    await visit.reload()
    await expect(visit.composer).to_have_value("Half a thought")


async def test_a_reply_that_broke_off_says_so_and_goes_on(visit: Visit, upstream: Upstream) -> None:
    upstream.answer(Script(["One, ", Drop()]), Script(["two."]))
    await visit.ask("Count.")
    await expect(visit.reply).to_contain_text("broke off")
    await visit.reply.get_by_role("button", name="Continue").click()
    await expect(visit.reply).to_contain_text("One, two.")


async def test_a_failure_is_a_sentence_and_a_way_on(visit: Visit, upstream: Upstream) -> None:
    upstream.answer(refuses(401), Script(["Better."]))
    await visit.ask("Hello")
    await expect(visit.reply).to_contain_text("API key")
    await visit.reply.get_by_role("button", name="Try again").click()
    await expect(visit.reply).to_contain_text("Better.")


async def test_markdown_grows_into_its_form(visit: Visit, upstream: Upstream) -> None:
    text = "# Title\n\nSome **bold** and `code`.\n\n```python\nprint(1)\n```\n\n| a | b |\n|---|---|\n| 1 | 漢字 |\n\n$x^2$\n"
    upstream.answer(Script(list(text), pace=0.002))
    await visit.ask("Show")
    reply = visit.reply
    await expect(reply.get_by_role("heading", name="Title")).to_be_visible()
    await expect(reply.locator("strong")).to_have_text("bold")
    await expect(reply.locator("pre code")).to_contain_text("print(1)")
    await expect(reply.get_by_role("cell", name="漢字")).to_be_visible()
    await expect(reply.locator(".katex").first).to_be_visible()


async def test_code_is_wrapped_and_saved(visit: Visit, upstream: Upstream) -> None:
    line = "value = " + " + ".join(f"number_{count}" for count in range(60))
    upstream.answer(Script([f"Here:\n\n```python\n{line}\n```\n"]))
    await visit.ask("Code, please")
    block = visit.reply.locator("pre")
    await expect(block).to_contain_text("number_59")
    fits = "block => block.scrollWidth <= block.clientWidth"
    assert not await block.evaluate(fits)
    wrap = visit.reply.get_by_role("button", name="Wrap long lines")
    await wrap.click()
    await expect(wrap).to_have_attribute("aria-pressed", "true")
    assert await block.evaluate(fits)
    async with visit.page.expect_download() as saving:
        await visit.reply.get_by_role("button", name="Download").click()
    saved = await saving.value
    assert saved.suggested_filename == "code.py"
    assert (await saved.path()).read_text("utf-8") == f"{line}\n"


async def test_a_reply_is_copied_as_markdown_and_with_its_form(visit: Visit, upstream: Upstream) -> None:
    upstream.answer(Script(["Some **bold** words\n\n```python\nx = 1\n```\n"]))
    await visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await visit.ask("Hello")
    await expect(visit.reply.locator("strong")).to_have_text("bold")
    await expect(visit.stop_button).to_be_hidden()
    await visit.reply.hover()
    await visit.reply.get_by_role("button", name="Copy as Markdown").click()
    # The button writes when it has made both forms, a moment after the click.
    await visit.page.wait_for_function(
        """async () => (await navigator.clipboard.read())[0]?.types.includes("text/html")"""
    )
    copied = await visit.page.evaluate(
        """async () => {
          const [item] = await navigator.clipboard.read();
          const read = async (type) => (await item.getType(type)).text();
          return { plain: await read("text/plain"), html: await read("text/html") };
        }"""
    )
    assert copied["plain"] == "Some **bold** words\n\n```python\nx = 1\n```\n"
    assert "<strong>bold</strong>" in copied["html"]
    assert "<button" not in copied["html"]


async def test_what_is_selected_is_quoted_in_the_next_question(visit: Visit, upstream: Upstream) -> None:
    upstream.answer(Script(["The sky is blue.\n\nGrass is green."]))
    await visit.ask("Colours?")
    await expect(visit.reply).to_contain_text("Grass is green.")
    await expect(visit.stop_button).to_be_hidden()
    await visit.composer.fill("But why?")
    await visit.reply.locator("p").first.select_text()
    await visit.page.get_by_role("button", name="Quote").click()
    await expect(visit.composer).to_have_value("But why?\n\n> The sky is blue.\n\n")
    await expect(visit.composer).to_be_focused()
    await expect(visit.page.get_by_role("button", name="Quote")).to_be_hidden()


async def test_reasoning_is_shown_apart(visit: Visit, upstream: Upstream) -> None:
    upstream.answer(Script([Reason("Let me think."), "Yes."]))
    await visit.ask("Is it?")
    await expect(visit.reply).to_contain_text("Yes.")
    await visit.reply.get_by_text("Thought for").click()
    await expect(visit.reply).to_contain_text("Let me think.")


HOSTILE = """Hello <script>document.body.dataset.hacked = 1</script>

<img src="https://evil.example/pixel.png" onerror="document.body.dataset.hacked = 1">

![pixel](https://evil.example/pixel.png) [click](javascript:alert(1)) <a href="https://evil.example" style="color:red">x</a>

<style>body { display: none }</style><iframe src="https://evil.example"></iframe>

```html
<script>document.body.dataset.hacked = 1</script>
```

$\\href{javascript:alert(1)}{x}$ $\\includegraphics{https://evil.example/x.png}$

The end.
"""


async def test_words_of_a_model_become_no_script_and_no_request(visit: Visit, upstream: Upstream) -> None:
    """The fixture judges requests to other hosts, and what the CSP had to forbid."""
    upstream.answer(Script(list(HOSTILE), pace=0.001))
    await visit.ask(HOSTILE)
    await expect(visit.reply).to_contain_text("The end.")
    await expect(visit.stop_button).to_be_hidden()
    await visit.reload()
    await expect(visit.reply).to_contain_text("The end.")
    assert await visit.page.locator("body").get_attribute("data-hacked") is None
    assert (
        await visit.reply.locator("script, iframe, style, img[src^=http], [onerror], [href^=javascript]").count() == 0
    )


PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


async def test_a_phone_shows_all_of_it(alice: User, open_page: OpenPage, upstream: Upstream) -> None:
    upstream.answer(Script(["```\n" + "wide " * 100 + "\n```\n\n" + "x" * 300]))
    visit = await open_page(**PHONE)
    await visit.sign_in()
    await visit.ask("Hello from a phone " + "y" * 200)
    await expect(visit.reply).to_contain_text("wide")
    await expect(visit.stop_button).to_be_hidden()
    assert await visit.page.evaluate("document.documentElement.scrollWidth") <= 360
    await visit.page.get_by_role("button", name="Show the conversations").click()
    await visit.sidebar.get_by_role("link", name="New conversation").click()
    await visit.until_home()
    await expect(visit.composer).to_be_visible()
    assert await visit.page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_follows_the_colours_of_the_device(alice: User, open_page: OpenPage, scheme: str) -> None:
    visit = await open_page(color_scheme=scheme)
    await visit.sign_in()
    await visit.ask("Hello")
    await expect(visit.reply).to_contain_text("You said: Hello")
    script = """() => {
      const canvas = document.createElement("canvas").getContext("2d");
      for (const element of [document.documentElement, document.body]) {
        canvas.fillStyle = getComputedStyle(element).backgroundColor;
        canvas.fillRect(0, 0, 1, 1);
      }
      return canvas.getImageData(0, 0, 1, 1).data[1];
    }"""
    lightness = await visit.page.evaluate(script)
    assert (lightness < 80) == (scheme == "dark")


async def test_a_conversation_can_be_renamed_and_deleted(visit: Visit) -> None:
    await visit.ask("Old title")
    await expect(visit.reply).to_contain_text("You said: Old title")
    entry = visit.sidebar.get_by_role("listitem").first
    await entry.hover()
    await entry.get_by_label("What to do with this conversation").click()
    await entry.get_by_role("button", name="Rename").click()
    dialog = visit.page.get_by_role("dialog")
    await dialog.get_by_role("textbox").fill("New title")
    await dialog.get_by_role("button", name="Rename").click()
    await expect(entry.get_by_role("link")).to_have_text("New title")
    await expect(visit.page).to_have_title(re.compile("New title"))
    await entry.hover()
    await entry.get_by_label("What to do with this conversation").click()
    await entry.get_by_role("button", name="Delete").click()
    await visit.until_home()
    await expect(visit.page.get_by_text("New title")).to_have_count(0)
    await visit.page.get_by_role("button", name="Undo").click()
    await visit.until_in_a_conversation()
    await expect(visit.reply).to_contain_text("You said: Old title")


async def test_signing_out_shows_the_way_in(visit: Visit) -> None:
    await visit.page.locator("summary", has_text="Settings and sign out").click()
    await visit.page.get_by_role("button", name="Sign out").click()
    await expect(visit.page.get_by_role("button", name="Sign in")).to_be_visible()


async def test_who_was_signed_out_elsewhere_is_sent_to_sign_in(visit: Visit, alice: User) -> None:
    await visit.ask("Hello")
    await expect(visit.reply).to_contain_text("You said: Hello")
    alice.set_password("another one, and a long one")
    await alice.asave()
    await expect(visit.page.locator("#connection")).to_contain_text(re.compile("sign", re.IGNORECASE))


async def test_a_page_finds_a_restarted_server_again(
    browser: Browser, alice: User, upstream: Upstream, start_process: StartProcess
) -> None:
    upstream.answer(Script(["One, ", Stall()]), Script(["two."]))
    process = await start_process()
    # What the browser says of a lost connection is no complaint about the page.
    visit = Visit(await browser.new_page(), LiveServer(process.url))
    await visit.sign_in()
    await visit.ask("Count.")
    await expect(visit.reply).to_contain_text("One,")
    process.kill()
    await expect(visit.page.locator("#connection")).to_be_visible()
    await process.astart()
    await expect(visit.reply).to_contain_text("broke off")
    await expect(visit.reply).to_contain_text("One,")
    await expect(visit.page.locator("#connection")).to_be_hidden()
    await visit.reply.get_by_role("button", name="Continue").click()
    await expect(visit.reply).to_contain_text("One, two.")
