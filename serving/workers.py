"""Workers that share what they have imported: forked, once that is there, from a process that answers nobody.

Workers that BentoML starts each import everything anew, 190 MiB that are the same in all of them. So it starts one
process only, which forks as many workers as are wanted and sees to them.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import time

from serving import metrics

PAUSE = 1.0  # seconds before another takes the place of a worker: one that cannot start would be started all the time
_AWAITED = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
_log = logging.getLogger("sheaf.serving")


def wanted() -> int:
    """How many processes are to answer, by SHEAF_WORKERS. Raises ValueError for what is no such number."""
    told = os.environ.get("SHEAF_WORKERS") or "1"
    if not told.isdecimal() or not int(told):
        raise ValueError(f"SHEAF_WORKERS is {told!r}; give a whole number from 1 on")
    return int(told)


def fork(workers: int) -> None:
    """Returns in every worker, of which there are so many at any time, and never where it is called.

    There it starts another for one that ends. At SIGTERM or SIGINT it has all of them end, and ends after them; where
    it is killed, they end politely by themselves.
    """
    gc.collect()
    gc.freeze()  # what the collector does not look at, it does not write to, and what nobody writes to stays shared
    metrics.gone(os.getpid())  # it has no profiles, and is not to say that theirs are of 1970
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    head, kept = os.pipe()  # nothing is ever written: to read from it ends when the process that forks does
    alive: set[int] = set()
    ending = False
    while alive or not ending:
        while not ending and len(alive) < workers:
            try:
                worker = os.fork()
            except OSError as error:  # there is no memory for it, or there are as many processes as there may be
                _log.error("a worker cannot be started and is tried again: %s", error.strerror)
                break
            if not worker:
                os.close(kept)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
                threading.Thread(target=_end_with, args=(head,), name="end with head", daemon=True).start()
                return
            alive.add(worker)
        arrived = signal.sigtimedwait(_AWAITED, PAUSE)
        if arrived is not None and arrived.si_signo != signal.SIGCHLD:
            ending = True
            for worker in alive:
                os.kill(worker, signal.SIGTERM)
        while alive and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            worker, status = ended
            alive.remove(worker)
            metrics.gone(worker)
            if not ending:
                _log.error("worker %d ended (%d); another takes its place", worker, os.waitstatus_to_exitcode(status))
        if not ending and len(alive) < workers:
            time.sleep(PAUSE)  # once for all who ended together
    os._exit(0)


def _end_with(head: int) -> None:
    os.read(head, 1)
    os.kill(os.getpid(), signal.SIGTERM)
