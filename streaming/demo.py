"""What the built-in demo model says, and how it cuts that into deltas. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

MODEL = "parley-demo"
#: About the speed at which hosted models speak.
SECONDS_PER_DELTA = 0.02

ENGLISH = """\
Hello! I am Parley's **built-in demo model**. I am not a language model and know \
nothing; I am here so that you can try the chat before you have a key. You asked:

{question}

### Connect a real model

Put a key into `config.yaml` and start again:

```yaml
appKey: sk-…
```

or point it at a server of your own, which needs no key:

```yaml
baseUrl: http://localhost:11434/v1   # Ollama, llama.cpp, vLLM, LM Studio
```

An administrator can also add providers and keys on the pages under *Administration*
in the menu at the lower left.

### What to try

| Do this | and see |
| --- | --- |
| Reload the page while I speak | not a word is lost |
| Open this address in a second tab | both tabs follow |
| Press **Stop** or Esc | what I said so far is kept |
| Edit your question | a new branch; the arrows lead back |

I can also show you a formula, $e^{{i\\pi}} + 1 = 0$, and some code:

```python
async for delta in reply:
    print(delta, end="")
```

- [x] Streams while you read
- [ ] Knows the answer: that is up to you. 祝你使用愉快！
"""

CHINESE = """\
你好！我是 Parley 的**内置演示模型**。我并不是语言模型，什么都不懂；在你还没有密钥之前，\
可以先用我来试试聊天。你问的是：

{question}

### 连接真正的模型

把密钥写进 `config.yaml`，然后重新启动：

```yaml
appKey: sk-…
```

或者使用你自己的服务器，不需要密钥：

```yaml
baseUrl: http://localhost:11434/v1   # Ollama、llama.cpp、vLLM、LM Studio
```

管理员也可以从左下角的菜单进入“管理后台”，在那里添加模型服务和密钥。

### 可以试试

| 这样做 | 你会看到 |
| --- | --- |
| 在我说话时刷新页面 | 一个字也不会丢 |
| 用第二个标签页打开这个地址 | 两边同步显示 |
| 点击**停止**或按 Esc | 已经说的内容会保留 |
| 编辑你的问题 | 产生新的分支，可用箭头切换 |

我还能显示公式 $e^{{i\\pi}} + 1 = 0$ 和代码：

```python
async for delta in reply:
    print(delta, end="")
```

- [x] 边生成边显示
- [ ] 知道答案：这要靠你来连接模型了。Enjoy!
"""

CJK = re.compile("[\u3400-\u9fff]")
#: A word with the blank before it, or one Chinese character, or a run of blanks.
TOKEN = re.compile("[\u3000-\u9fff\uff00-\uffef]|\\s?[^\\s\u3000-\u9fff\uff00-\uffef]+|\\s")
LONGEST_ECHO = 500
#: Where what is asked for ends, and how it is wanted begins.
CLAUSE = re.compile("[,;:?!]\\s|[，；：？！。]|[.?!]$")


def answer_to(question: str) -> str:
    """Return what the demo says to a question, in the language of the question."""
    template = CHINESE if CJK.search(question) else ENGLISH
    echo = question.strip()[:LONGEST_ECHO]
    if len(question.strip()) > LONGEST_ECHO:
        echo += "…"
    quoted = "\n".join(f"> {line}" for line in echo.splitlines() or ["…"])
    return template.format(question=quoted)


def title_for(question: str) -> str:
    """Return the title that the demo gives to a question: its first words, up to where they end."""
    line = next((line.strip() for line in question.splitlines() if line.strip()), "")
    clause = CLAUSE.split(line, maxsplit=1)[0]
    return clause[:12] if CJK.search(clause) else " ".join(clause.split()[:6])


def deltas(text: str) -> Iterator[str]:
    """Cut a text the way a model would say it."""
    return (match.group() for match in TOKEN.finditer(text))
