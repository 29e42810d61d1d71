"""Jobs over processes: as many at once as asked for, outcomes as they come.

A worker is a fresh interpreter that reads jobs on its standard input and answers
on its standard output. It does not import the caller's script, as spawned
processes of `multiprocessing` do, so `simulate` needs no guard in it.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import IO, TYPE_CHECKING, Any

from factorysim.errors import SimulationError

if TYPE_CHECKING:
    from factorysim.run.replication import Job, Outcome, Policies

OnProgress = Callable[[int, float, int], None]
"""Told replication, simulated seconds, sessions."""
Then = Callable[["Outcome"], "list[Job]"]
"""Gives the jobs that follow an outcome, if any do."""

_TELL_EVERY_S = 0.1
"""Wall time between two words of progress of a worker."""


def run_jobs(
    jobs: Sequence[Job],
    workers: int,
    on_progress: OnProgress | None,
    policies: Policies | None,
    then: Then | None = None,
) -> Iterator[Outcome]:
    """Run jobs, yield their outcomes in the order in which they end.

    A user's policy that cannot travel to another process (a lambda, a function of
    the script itself) keeps all jobs in this one.

    Parameters
    ----------
    then
        Called here with each outcome before it is yielded; the jobs that it gives
        join the others.

    Raises
    ------
    FactorysimError
        The first error of a job; the other workers are stopped.
    SimulationError
        If a worker dies.
    """
    if workers > 1 and len(jobs) > 1 and _can_travel(policies):
        yield from _run_apart(jobs, min(workers, len(jobs)), on_progress, policies, then)
        return
    from factorysim.run.replication import Bench

    bench = Bench(policies)
    waiting = deque(jobs)
    while waiting:
        job = waiting.popleft()
        outcome = bench.run(job, _teller(job, on_progress))
        if then is not None:
            waiting += then(outcome)
        yield outcome


def _teller(job: Job, on_progress: OnProgress | None) -> Callable[[float, int], None] | None:
    if on_progress is None:
        return None
    told = on_progress
    return lambda at_s, sessions: told(job.replication, at_s, sessions)


def _can_travel(policies: Policies | None) -> bool:
    if not policies:
        return True
    if any(getattr(policy, "__module__", "__main__") == "__main__" for policy in policies.values()):
        return False
    try:
        pickle.dumps(policies)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


def _run_apart(
    jobs: Sequence[Job],
    workers: int,
    on_progress: OnProgress | None,
    policies: Policies | None,
    then: Then | None,
) -> Iterator[Outcome]:
    waiting: SimpleQueue[Job | None] = SimpleQueue()
    for job in jobs:
        waiting.put(job)
    answers: SimpleQueue[tuple[str, Any]] = SimpleQueue()
    processes = [_start() for _ in range(workers)]
    for process in processes:
        Thread(target=_feed, args=(process, policies, waiting, answers), daemon=True).start()
    left = len(jobs)
    try:
        while left:
            kind, answer = answers.get()
            if kind == "outcome":
                left -= 1
                for job in () if then is None else then(answer):
                    left += 1
                    waiting.put(job)
                yield answer
            elif kind == "error":
                raise answer
            elif on_progress is not None:
                on_progress(*answer)
    finally:
        for _ in processes:
            waiting.put(None)
        for process in processes:
            process.kill() if left else process.wait()
            process.wait()


def _start() -> subprocess.Popen[bytes]:
    """Start a worker that finds the packages that this process finds."""
    return subprocess.Popen(
        [sys.executable, "-c", "from factorysim.run.workers import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
    )


def _feed(
    process: subprocess.Popen[bytes],
    policies: Policies | None,
    waiting: SimpleQueue[Job | None],
    answers: SimpleQueue[tuple[str, Any]],
) -> None:
    """Give one worker job after job, and pass on what it says (a thread's work)."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdin, process.stdout:
            _send(process.stdin, policies)
            while (job := waiting.get()) is not None:
                _send(process.stdin, job)
                kind = ""
                while kind not in ("outcome", "error"):
                    kind, answer = pickle.load(process.stdout)
                    answers.put((kind, answer))
    except (EOFError, OSError, pickle.UnpicklingError):
        died = f"a worker process died with exit code {process.wait()}: out of memory?"
        answers.put(("error", SimulationError(died)))


def _send(stream: IO[bytes], thing: object) -> None:
    pickle.dump(thing, stream)
    stream.flush()


def serve() -> None:
    """Be a worker: run jobs from standard input until it closes."""
    from factorysim.run.replication import Bench

    # Ctrl-C reaches the whole terminal; the parent decides and stops its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what any library prints must not mix with the answers
    jobs = sys.stdin.buffer
    bench = Bench(pickle.load(jobs))
    while True:
        try:
            job: Job = pickle.load(jobs)
        except EOFError:
            return
        try:
            _send(answers, ("outcome", bench.run(job, _limited(job, answers))))
        except Exception as error:
            _send(answers, ("error", _portable(error)))


def _limited(job: Job, answers: IO[bytes]) -> Callable[[float, int], None]:
    """Progress that is passed on a few times a second."""
    last = 0.0

    def tell(at_s: float, sessions: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _TELL_EVERY_S:
            last = now
            _send(answers, ("progress", (job.replication, at_s, sessions)))

    return tell


def _portable(error: Exception) -> Exception:
    """Make sure that an error survives the way to the parent."""
    import traceback

    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return SimulationError("".join(traceback.format_exception(error)))
    error.add_note("".join(traceback.format_exception(error)))
    return error
