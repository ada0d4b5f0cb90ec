"""What was seen, said and kept in one run, for the judge. Plain data; all times are seconds of one monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Asked:
    """One command that asks for a reply, and what came of it, however often it was sent."""

    kind: str
    client_id: str
    conversation: str
    sent_at: float
    sendings: int = 0
    #: (message, reply) of each `command_done`, and when it came. `message` is "" where only a reply was asked for.
    answers: list[tuple[str, str, float]] = field(default_factory=list)
    #: Codes of `command_refused`.
    refusals: list[str] = field(default_factory=list)


@dataclass
class Stopped:
    """A Stop that somebody pressed."""

    reply: str
    sent_at: float
    done_at: float | None = None
    refused: bool = False


@dataclass
class Post:
    """One POST, as the upstream saw it."""

    ask: int
    nth: int
    way: str
    arrived_at: float
    first_byte_at: float | None
    closed_at: float | None
    ended_at: float | None
    #: What was sent of the text, and whether the provider said that it had finished.
    text: str
    finished: bool
    #: Did anything of a stream leave (as opposed to a refusal)?
    streamed: bool


@dataclass
class Seen:
    """What one client saw of one reply by its end or by the end of the run."""

    client: str
    reply: str
    text: str
    reasoning: str
    #: (status, length, sha256) of each `reply_ended`.
    endings: list[tuple[str, int, str]]
    #: The client stayed to the end and shows the reply, so it has to have all of it.
    stayed: bool


@dataclass
class Kept:
    """One reply as the database has it in the end."""

    reply: str
    conversation: str
    ask: int
    client_id: str | None
    status: str
    text: str
    reasoning: str
    error: str
    created_at: float
    ended_at: float | None
    attempts: int
    owner: str
    #: How many `reply_ended` are among the changes.
    endings: int
    pieces: int


@dataclass
class Versions:
    """The lasting changes of one conversation, and what its last viewers hold."""

    conversation: str
    version: int
    changes: list[int]
    #: (client, version it holds, its differences from a fresh snapshot)
    held: list[tuple[str, int, list[str]]] = field(default_factory=list)


@dataclass
class Fault:
    """What was broken, from when until when; `ready_at` is when it could serve again."""

    kind: str
    target: str
    began: float
    ended: float | None = None
    ready_at: float | None = None


@dataclass
class Guest:
    """Somebody whose rights were taken, with an open page."""

    name: str
    why: str
    transport: str
    taken_at: float
    closed_at: float | None = None
    close_code: int | None = None
    #: What came of the conversation after that, beyond what was on its way.
    told_after: int = 0


@dataclass
class Inside:
    """What a server process told about itself, idle, in the end."""

    server: str
    tasks: list[str]
    threads: list[str]
    descriptors: int
    sockets: int
    readers: int
    rooms: int
    largest_buffer: int
    memory: int


@dataclass
class Exit:
    """How a server process ended that was asked to."""

    server: str
    code: int | None
    seconds: float
    #: Its last words, where it did not end well.
    log: str = ""


@dataclass
class Delay:
    """How long a delta took from the upstream to a tab, outside of faults."""

    seconds: float
    same_process: bool


@dataclass
class Records:
    seed: int
    topology: str
    began: float = 0.0
    ended: float = 0.0
    asked: list[Asked] = field(default_factory=list)
    stopped: list[Stopped] = field(default_factory=list)
    posts: list[Post] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    questions: dict[str, list[str]] = field(default_factory=dict)
    versions: list[Versions] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    guests: list[Guest] = field(default_factory=list)
    inside: list[Inside] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    #: What clients found wrong with what they were told, while it came.
    wrongs: list[str] = field(default_factory=list)
    #: Close codes of sockets, counted.
    closes: dict[str, int] = field(default_factory=dict)
    connections: int = 0
    redis_keys: list[str] = field(default_factory=list)
    #: Where a provider's key was found that should be nowhere.
    leaked_keys: list[str] = field(default_factory=list)
    #: (when, for how long) the machine itself did not let this program run.
    lags: list[tuple[float, float]] = field(default_factory=list)
