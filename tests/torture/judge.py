"""Records in, verdicts out. Pure; believes neither the server nor the clients alone.

Each judge looks at one promise of the product. What a fault excuses is said where it is excused: time that passed while a
server was dead or the database away is not counted, and a reply may end `interrupted` only by something that did happen.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from tests.torture.plan import WAYS, Book
from tests.torture.records import Fault, Kept, Post, Records

TERMINAL = {"done", "stopped", "interrupted", "failed"}

#: Bounds of the promises, in seconds.
STOP_SECONDS = 1.0
RIGHTS_SECONDS = 1.0
RIGHTS_SECONDS_WITHOUT_REDIS = 15.0
HONEST_SECONDS = 15.0
HONEST_SECONDS_AFTER_RESTART = 1.0
QUEUED_SECONDS = 30.0
BUFFER_BYTES = 256 * 1024
#: A frame on its way when the bound was reached, and the answers to commands.
BUFFER_SLACK = 64 * 1024
#: After a fault connections are made anew, caches are cold, clients come back: for so long it still counts as a fault.
GRACE_SECONDS = 1.5
#: Between a byte that left the upstream and the moment when the server has it in its store.
ON_ITS_WAY = 1.0

#: Codes of the errors of a reply, and what may have caused them. Anything else is a bug of ours.
CAUSES = {
    "server_gone": {"server killed", "server stopped for twice its lease", "server frozen", "database"},
    "restart": {"server terminated"},
}
OF_THE_UPSTREAM = {
    "unreachable",
    "hung_up",
    "cut_off",
    "silent",
    "slow_start",
    "slow",
    "garbage",
    "upstream_error",
    "server_error",
    "rate_limited",
    "daily_limit",
    "overloaded",
    "insufficient_quota",
    "key_refused",
    "empty",
}


@dataclass
class Verdict:
    """What was looked at for one promise, what broke it, and its worst figure."""

    promise: str
    checked: int = 0
    violations: list[str] = field(default_factory=list)
    worst: float | None = None
    unit: str = "s"

    def check(self, holds: bool, otherwise: str) -> None:
        self.checked += 1
        if not holds:
            self.violations.append(otherwise)

    def measure(self, value: float, bound: float, what: str) -> None:
        self.worst = max(value, self.worst or 0.0)
        self.check(value <= bound, f"{what}: {value:.2f} {self.unit}, at most {bound:g}")


class Case:
    """The records of one run, and what the judges ask of them."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.book = Book(records.seed)
        self.kept = {kept.reply: kept for kept in records.kept}
        self.posts: dict[int, list[Post]] = defaultdict(list)
        for post in records.posts:
            self.posts[post.ask].append(post)
        self.siblings: dict[int, list[Kept]] = defaultdict(list)
        for kept in records.kept:
            self.siblings[kept.ask].append(kept)

    def undisturbed(self, begin: float, end: float, *targets: str) -> float:
        """The seconds between two moments in which nothing of `targets` was broken, and this machine let us run."""
        spans = [
            (fault.began, (fault.ended or self.records.ended) + GRACE_SECONDS)
            for fault in self.records.faults
            if fault.target.startswith(targets)
        ]
        spans += [(at - lasted, at) for at, lasted in self.records.lags]
        return (end - begin) - overlap(spans, begin, end)

    def faults_in(self, begin: float, end: float) -> Iterator[Fault]:
        for fault in self.records.faults:
            if fault.began <= end and (fault.ended or self.records.ended) + GRACE_SECONDS >= begin:
                yield fault


def overlap(spans: Iterable[tuple[float, float]], begin: float, end: float) -> float:
    """How much of the time between two moments is covered by spans, which may overlap each other."""
    covered, reached = 0.0, begin
    for first, last in sorted(spans):
        first, last = max(first, reached), min(last, end)
        if last > first:
            covered += last - first
            reached = last
    return covered


def acknowledged(case: Case) -> Verdict:
    """What was acknowledged is kept, once, however often it was sent."""
    verdict = Verdict("1  an acknowledged message is kept, once")
    for asked in case.records.asked:
        verdict.check(bool(asked.answers or asked.refusals), f"{asked.kind} {asked.client_id} was never answered")
        rows = case.records.questions.get(asked.client_id, [])
        verdict.check(len(rows) <= 1, f"{asked.kind} {asked.client_id} is {len(rows)} messages")
        verdict.check(len({answer[:2] for answer in asked.answers}) <= 1, f"{asked.client_id} was answered differently")
        for message, reply, _ in asked.answers:
            made = message or reply
            verdict.check(rows == [made], f"{asked.client_id} was acknowledged as {made}, kept is {rows}")
            verdict.check(reply in case.kept, f"reply {reply} was acknowledged and is gone")
    replies = Counter(kept.client_id for kept in case.kept.values() if kept.client_id)
    for client_id, count in replies.items():
        verdict.check(count == 1, f"{client_id} is {count} replies")
    return verdict


def seen_is_kept(case: Case) -> Verdict:
    """What anyone saw is the beginning of what is kept; who stayed has all of it, byte for byte."""
    verdict = Verdict("2  what was seen is what is kept")
    for seen in case.records.seen:
        kept = case.kept.get(seen.reply)
        if kept is None:
            verdict.check(False, f"{seen.client} saw reply {seen.reply}, which is not kept")
            continue
        who = f"{seen.client}, reply {seen.reply} ({kept.status})"
        verdict.check(kept.text.startswith(seen.text), f"{who}: saw what is not kept")
        verdict.check(kept.reasoning.startswith(seen.reasoning), f"{who}: saw reasoning that is not kept")
        if seen.stayed and seen.endings:
            verdict.check(seen.text == kept.text, f"{who}: has {len(seen.text)} of {len(kept.text)} characters")
        digest = sha256(kept.text.encode()).hexdigest()
        for status, length, told in seen.endings:
            verdict.check((status, length, told) == (kept.status, len(kept.text), digest), f"{who}: told another end")
    for wrong in case.records.wrongs:
        verdict.check(False, wrong)
    return verdict


def said_is_kept(case: Case) -> Verdict:
    """What is kept is what the model said: the beginning of it, and all of it where the reply is `done`."""
    verdict = Verdict("2  what is kept is what the model said")
    for kept in case.kept.values():
        text, reasoning = case.book.text(kept.ask), case.book.reasoning(kept.ask)
        who = f"reply {kept.reply} ({kept.status})"
        verdict.check(text.startswith(kept.text), f"{who}: keeps what was never said")
        verdict.check(reasoning.startswith(kept.reasoning), f"{who}: keeps reasoning that was never said")
        verdict.check(kept.pieces == 0 or kept.status not in TERMINAL, f"{who}: {kept.pieces} pieces are left over")
        if kept.status == "done":
            verdict.check(kept.text == text, f"{who}: {len(kept.text)} of {len(text)} characters")
            verdict.check(any(post.finished for post in case.posts[kept.ask]), f"{who}: the provider never finished")
    return verdict


def one_end(case: Case) -> Verdict:
    verdict = Verdict("3  one end, once, for all")
    told: dict[str, set[tuple[str, int, str]]] = defaultdict(set)
    for seen in case.records.seen:
        told[seen.reply] |= set(seen.endings)
    for kept in case.kept.values():
        verdict.check(kept.status in TERMINAL, f"reply {kept.reply} is still {kept.status}")
        verdict.check(kept.endings == 1, f"reply {kept.reply} ended {kept.endings} times")
        verdict.check(len(told[kept.reply]) <= 1, f"reply {kept.reply} ended differently for different people")
    return verdict


def honest_ends(case: Case) -> Verdict:
    """Each end has a cause that did happen; what nothing disturbed came to the end that the provider gave it."""
    verdict = Verdict("3  each end has its cause")
    stops = {stop.reply for stop in case.records.stopped}
    for kept in case.kept.values():
        problem = None
        if kept.status == "stopped":
            problem = None if kept.reply in stops else "nobody stopped it"
        elif kept.error in CAUSES:
            problem = without_cause(case, kept, CAUSES[kept.error])
        elif kept.status != "done":
            problem = without_fault_of_the_upstream(case, kept)
        verdict.check(problem is None, f"reply {kept.reply} ({kept.status}, {kept.error}): {problem}")
    return verdict


def without_cause(case: Case, kept: Kept, causes: set[str]) -> str | None:
    happened = {
        name
        for fault in case.faults_in(kept.created_at, kept.ended_at or case.records.ended)
        for name in (fault.kind, fault.target)
    }
    return None if happened & causes else f"none of {sorted(causes)} happened in its life"


def without_fault_of_the_upstream(case: Case, kept: Kept) -> str | None:
    if kept.error not in OF_THE_UPSTREAM:
        return "this is no fault of an upstream"
    if kept.error == "empty" and kept.text == case.book.text(kept.ask):
        return None  # one that was cut off behind its last word goes on with nothing
    names = {post.way for post in case.posts[kept.ask]}
    disturbed = {fault.target for fault in case.faults_in(kept.created_at, kept.ended_at or case.records.ended)}
    if any(kept.status in WAYS[name].ends for name in names) or "upstream" in disturbed:
        return None
    # A loop that stands still does not hear what came in time.
    if kept.error in ("silent", "slow_start") and any(target.startswith("server") for target in disturbed):
        return None
    return f"the upstream answered {sorted(names)}"


def nobody_waits(case: Case) -> Verdict:
    """Nothing stays queued without being asked for."""
    verdict = Verdict("4  nothing stays queued")
    for asked in case.records.asked:
        for _, reply, at in asked.answers[:1]:
            kept = case.kept.get(reply)
            first = (
                min((post.arrived_at for post in case.posts[kept.ask] if post.arrived_at > asked.sent_at), default=None)
                if kept
                else None
            )
            if first is not None:
                waited = case.undisturbed(at, first, "server", "database", "redis")
                verdict.measure(max(waited, 0.0), QUEUED_SECONDS, f"reply {reply} was queued")
    return verdict


def honest_soon(case: Case) -> Verdict:
    """A reply whose owner died is ended soon: after the lease, or at once where the owner is restarted."""
    verdict = Verdict("4  from death to an honest state")
    alone = case.records.topology == "sqlite"
    for kept in case.kept.values():
        if kept.error != "server_gone" or kept.ended_at is None:
            continue
        deaths = [
            fault
            for fault in case.records.faults
            if fault.kind in CAUSES["server_gone"]
            and fault.began <= kept.ended_at
            and fault.began >= kept.created_at - GRACE_SECONDS
        ]
        if not deaths:
            continue
        death = deaths[-1]
        since = death.began
        if alone:
            # Nobody else is there: it begins with whoever serves again, or wakes up.
            since = death.ready_at or death.ended or death.began
        bound = HONEST_SECONDS_AFTER_RESTART if alone and death.ready_at else HONEST_SECONDS
        took = kept.ended_at - since - overlap(database_spans(case), since, kept.ended_at)
        verdict.measure(max(took, 0.0), bound, f"reply {kept.reply} after {death.kind}")
    return verdict


def database_spans(case: Case) -> list[tuple[float, float]]:
    away = [
        (f.began, (f.ended or case.records.ended) + GRACE_SECONDS)
        for f in case.records.faults
        if f.target == "database"
    ]
    return away + [(at - lasted, at) for at, lasted in case.records.lags]


def one_post(case: Case) -> Verdict:
    """No POST that was not counted; after the first byte of a stream never a second one by itself."""
    verdict = Verdict("5  one POST for each attempt, none after the first byte")
    for ask, posts in case.posts.items():
        attempts = sum(kept.attempts for kept in case.siblings[ask])
        verdict.check(len(posts) <= attempts, f"question {ask}: {len(posts)} POSTs, {attempts} attempts")
        heard = [post for post in posts if post.streamed and not lost_by_death(case, post)]
        replies = len(case.siblings[ask])
        verdict.check(len(heard) <= replies, f"question {ask}: {len(heard)} streams for {replies} replies")
    return verdict


def lost_by_death(case: Case, post: Post) -> bool:
    """Did the process die before it can have stored the first byte? Then nobody knows of it, and somebody asks again."""
    first = post.first_byte_at
    return first is not None and any(
        fault.began - ON_ITS_WAY <= first <= (fault.ended or case.records.ended) + ON_ITS_WAY
        for fault in case.records.faults
        if fault.target.startswith(("server", "database"))
    )


def stopped_soon(case: Case) -> Verdict:
    verdict = Verdict("6  from Stop to a closed upstream")
    for stop in case.records.stopped:
        kept = case.kept.get(stop.reply)
        if kept is None or stop.done_at is None or is_ambiguous(case, kept, stop.sent_at):
            continue
        running = [
            post
            for post in case.posts[kept.ask]
            if post.arrived_at < stop.done_at < (post.ended_at or case.records.ended)
        ]
        for post in running:
            took = case.undisturbed(stop.done_at, post.ended_at or case.records.ended, "server", "database")
            verdict.measure(max(took, 0.0), STOP_SECONDS, f"reply {stop.reply}")
    return verdict


def is_ambiguous(case: Case, kept: Kept, at: float) -> bool:
    """Was another reply to the same question running, whose POST cannot be told from this one's?"""
    return any(
        other is not kept
        and other.created_at <= at + STOP_SECONDS
        and (other.ended_at or case.records.ended) >= at - STOP_SECONDS
        for other in case.siblings[kept.ask]
    )


def buffers(case: Case) -> Verdict:
    verdict = Verdict("7  what a reader costs at the most", unit="KiB")
    for inside in case.records.inside:
        largest = inside.largest_buffer / 1024
        verdict.measure(largest, (BUFFER_BYTES + BUFFER_SLACK) / 1024, inside.server)
    return verdict


def versions(case: Case) -> Verdict:
    """Versions without gaps; what a tab was told by and by is what a new one is told at once."""
    verdict = Verdict("9  versions without gaps, old plus changes is new")
    for versions in case.records.versions:
        wanted = list(range(1, versions.version + 1))
        verdict.check(sorted(versions.changes) == wanted, f"conversation {versions.conversation}: gaps or doubles")
        for client, version, differences in versions.held:
            verdict.check(version == versions.version, f"{client} holds {version} of {versions.version}")
            verdict.check(not differences, f"{client}: {'; '.join(differences[:3])}")
    return verdict


def rights(case: Case) -> Verdict:
    verdict = Verdict("10 from lost rights to a closed page")
    for guest in case.records.guests:
        end = guest.closed_at or case.records.ended
        without_redis = any(fault.target == "redis" for fault in case.faults_in(guest.taken_at, end))
        bound = RIGHTS_SECONDS_WITHOUT_REDIS if without_redis else RIGHTS_SECONDS
        took = case.undisturbed(guest.taken_at, end, "server", "database", "network")
        what = f"{guest.name} ({guest.why}, {guest.transport})"
        verdict.measure(max(took, 0.0), bound, what)
        verdict.check(guest.close_code in (4401, 4404), f"{what} was closed with {guest.close_code}")
        verdict.check(guest.told_after == 0, f"{what} was told {guest.told_after} more things")
    return verdict


def keys(case: Case) -> Verdict:
    verdict = Verdict("12 the key is nowhere")
    verdict.check(not case.records.leaked_keys, f"found in {case.records.leaked_keys}")
    return verdict


def nothing_stays(case: Case) -> Verdict:
    """Idle again, a process has no task, no connection and no reader of what is over."""
    verdict = Verdict("14 nothing stays")
    for inside in case.records.inside:
        left = [name for name in inside.tasks if name.startswith(("reply ", "socket"))]
        verdict.check(not left, f"{inside.server}: tasks {left[:5]}")
        verdict.check(inside.readers == 0, f"{inside.server}: {inside.readers} readers")
        verdict.check(inside.rooms == 0, f"{inside.server}: {inside.rooms} rooms")
        verdict.check(inside.sockets == 0, f"{inside.server}: {inside.sockets} connections")
        verdict.check(len(inside.threads) <= MOST_THREADS, f"{inside.server}: {len(inside.threads)} threads")
        verdict.check(inside.descriptors <= MOST_DESCRIPTORS, f"{inside.server}: {inside.descriptors} descriptors")
    verdict.check(not case.records.redis_keys, f"Redis keeps {case.records.redis_keys[:5]}")
    for end in case.records.exits:
        verdict.check(not end.log, f"{end.server} ended with {end.code} after {end.seconds:.1f} s: {end.log}")
    return verdict


#: Pools of threads do not shrink: the hub's, the store's, the ORM's, the loop's own, that of the PostgreSQL pool.
MOST_THREADS = 40
MOST_DESCRIPTORS = 80

JUDGES: tuple[Callable[[Case], Verdict], ...] = (
    acknowledged,
    seen_is_kept,
    said_is_kept,
    one_end,
    honest_ends,
    nobody_waits,
    honest_soon,
    one_post,
    stopped_soon,
    buffers,
    versions,
    rights,
    keys,
    nothing_stays,
)


def judge(records: Records) -> list[Verdict]:
    case = Case(records)
    return [judge(case) for judge in JUDGES]


def recoveries(records: Records) -> list[float]:
    """For each fault of a server or the database that no other one follows at once: how long after its end the first
    command was carried out again."""
    answered = sorted(at for asked in records.asked for _, _, at in asked.answers)
    serious = [fault for fault in records.faults if fault.target.startswith(("server", "database"))]
    found = []
    for fault in serious:
        mended = fault.ready_at or fault.ended or records.ended
        after = next((at for at in answered if at >= mended), None)
        if after is not None and not any(
            mended - GRACE_SECONDS < other.began < after for other in serious if other is not fault
        ):
            found.append(after - mended)
    return found
