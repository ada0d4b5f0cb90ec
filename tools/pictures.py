"""The pictures of the README: `python -m tools.pictures` fills an installation of its own, opens it and takes them."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "images"
DESKTOP = {"viewport": {"width": 1280, "height": 900}, "device_scale_factor": 1.5}
PHONE = {"viewport": {"width": 390, "height": 780}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}

MODEL = "gpt-5-mini"
QUESTION = "Which of these two plans costs a team of 40 less?"
ANSWER = """\
For 40 people the **second plan** is the cheaper one from the fourth month on.

| plan | once | a month | after a year |
| --- | ---: | ---: | ---: |
| Basic | – | 480 | 5,760 |
| Team | 900 | 240 | **3,780** |

The point where both cost the same:

$$900 + 240\\,m = 480\\,m \\quad\\Rightarrow\\quad m = 3.75$$

```python
def cheaper(months: int) -> str:
    return "Team" if 900 + 240 * months < 480 * months else "Basic"
```

- [x] both prices are without tax
- [ ] ask whether *Basic* has a discount for a year
"""
REASONING = "The first has no price at the start, the second has 900. Per month they differ by 240."
#: Titles, and how many days ago they were.
OTHERS = {
    "Why is the sky blue?": 0,
    "Notes for the release": 0,
    "SQL: newest row of each group": 1,
    "京都三日行程": 1,
    "A letter to the landlord": 4,
    "Regular expressions for dates": 5,
    "Bread without yeast": 12,
    "解释一下傅里叶变换": 15,
}


def fill() -> tuple[str, str]:
    """Write what is to be seen; return the cookie of who looks at it, and the conversation."""
    from django.contrib.auth.models import User
    from django.utils import timezone

    from conversations import search
    from conversations.models import Conversation, Membership, Message, Shelf
    from conversations.status import Status
    from tests.conftest import session_of

    maria = User.objects.create_superuser("maria", first_name="Maria")

    def talk(title: str, *said: Mapping[str, Any], days: int = 0) -> Conversation:
        conversation = Conversation.start(maria)
        for fields in said:
            role = "assistant" if "model" in fields else "user"
            conversation.head = Message.objects.create(
                conversation=conversation, parent=conversation.head, role=role, status=Status.DONE, **fields
            )
            search.index(conversation.head.pk, conversation.head.text)
        conversation.title = title
        conversation.updated_at = timezone.now() - timedelta(days=days, minutes=len(OTHERS))
        conversation.save()
        Membership.objects.filter(conversation=conversation).update(
            updated_at=conversation.updated_at, seen_version=conversation.version
        )
        return conversation

    for title, days in reversed(OTHERS.items()):
        answer = {"text": f"In short: {title}", "model": MODEL}
        other = talk(title, {"text": title, "author": maria}, answer, days=days)
        if days == 12:
            other.put_on(maria, Shelf.PINNED)
    usage = {"prompt_tokens": 61, "completion_tokens": 214, "estimated": False}
    shown = talk(
        "Two plans for a team",
        {"text": QUESTION, "author": maria},
        {"text": ANSWER, "reasoning": REASONING, "model": MODEL, "finish_reason": "stop", "usage": usage},
    )
    Membership.objects.filter(conversation=shown).update(updated_at=timezone.now())
    return session_of(maria), f"/conversations/{shown.pk}/"


@dataclass(frozen=True)
class Camera:
    """Somebody who looks at the page with one kind of screen."""

    browser: Any
    url: str
    cookie: str

    async def take(self, name: str, path: str, screen: Mapping[str, Any], *keys: str, **options: Any) -> None:
        """Take the picture of a page after some keys, or words, have been typed."""
        from django.conf import settings

        context = await self.browser.new_context(**screen, reduced_motion="reduce", **options)
        await context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": self.cookie, "url": self.url}])
        page = await context.new_page()
        await page.goto(self.url + path)
        await page.wait_for_selector("html[data-alive][data-connected]")
        for key in keys:
            await (page.keyboard.press(key) if "+" in key else page.keyboard.type(key))
            await page.wait_for_timeout(300)
        # Maths and colours come when they are first wanted.
        await page.wait_for_load_state("networkidle")
        await page.wait_for_timeout(1_000)
        await page.screenshot(path=PICTURES / f"{name}.png")
        await context.close()


async def take_all(url: str, cookie: str, conversation: str) -> None:
    from playwright.async_api import async_playwright

    from tests.browser.conftest import OPTIONS, find_chromium

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(), args=OPTIONS, chromium_sandbox=os.geteuid() != 0
        )
        camera = Camera(browser, url, cookie)
        for name, screen in {"desktop": DESKTOP, "phone": PHONE}.items():
            await camera.take(f"{name}-light", conversation, screen)
            await camera.take(f"{name}-dark", conversation, screen, color_scheme="dark")
        await camera.take("search", conversation, DESKTOP, "Control+k", "sky")
        await camera.take("settings", conversation, DESKTOP, "Control+,", color_scheme="dark")
        await camera.take("chinese", "/", PHONE, locale="zh-CN")
        await browser.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "DATABASE_URL": f"sqlite:///{folder}/pictures.sqlite3",
            "CHAT_ENV_FILE": f"{folder}/.env",
            "DJANGO_SETTINGS_MODULE": "chatproject.settings",
            # Nobody is asked: what is to be seen is there already.
            "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
            "OPENAI_API_KEY": "none",
            "CHAT_MODELS": f"{MODEL},gpt-5",
            "CHAT_TITLES": "false",
        }
        import django

        django.setup()
        from django.core.management import call_command

        from tests.processes import ServerProcess

        call_command("migrate", verbosity=0)
        cookie, conversation = fill()
        with ServerProcess() as server:
            asyncio.run(take_all(server.url, cookie, conversation))
    if pngquant := shutil.which("pngquant"):
        # A third of the size, and no difference to the eye.
        subprocess.run([pngquant, "--force", "--ext", ".png", *sorted(PICTURES.glob("*.png"))], check=True)


if __name__ == "__main__":
    main()
