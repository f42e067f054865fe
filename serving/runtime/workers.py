"""Workers that share what they have imported: forked, once that is there, from a process that answers nobody.

Workers that BentoML starts each import everything anew, 190 MiB that are the same in all of them. So it starts one
process only, which forks as many workers as are wanted and sees to them. All end with the service; workers whose
forking process died answer until those of the next one do.
"""

from __future__ import annotations

import gc
import logging
import os
import secrets
import select
import signal
import threading
import time
from contextlib import suppress

import psutil

from sheaf.serving.runtime import shared_metrics
from sheaf.serving.settings import pass_on, settings, variable

PAUSE = 1.0  # seconds before another takes the place of a worker: one that cannot start would be started all the time
SOON = 10.0  # seconds: a worker that lived for longer can start, and is replaced at once
WATCH = 0.25  # seconds between two looks at whether the service is there
LAST = 20.0  # seconds that a worker may take to end, a request takes ten at most; then it is killed
_AWAITED = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
_log = logging.getLogger("sheaf.serving")


def supervise() -> None:
    """Has the processes that this one starts end with it."""
    pass_on(supervisor=f"{os.getpid()}:{secrets.token_hex(8)}")


def ready() -> None:
    """This worker is about to answer."""
    if _head is not None:
        with suppress(OSError):  # it died meanwhile: this worker answers all the same
            os.write(_head, b".")


_head: int | None = None  # where a worker tells the process that forked it that it is ready


def fork(workers: int) -> None:
    """Returns in every worker, of which there are so many at any time, and never where it is called.

    There it starts another for one that ends. At SIGTERM or SIGINT, or where the service that started it is gone, it
    has all of them end, and ends after them. Where it is killed, they go on until the workers of the next are ready.
    """
    global _head
    gc.collect()
    gc.freeze()  # what the collector does not look at, it does not write to, and what nobody writes to stays shared
    shared_metrics.share(workers)
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    supervisor = int((settings().supervisor or str(os.getppid())).partition(":")[0])
    watched = psutil.Process(supervisor) if os.getppid() == supervisor else None
    before = _left_over()
    head, kept = os.pipe()  # nothing is ever written: to read from it ends when the process that forks does
    told, tell = os.pipe()  # a byte for each worker that is ready
    os.set_blocking(told, False)
    alive: dict[int, tuple[int, float]] = {}  # by process: its slot of figures, and since when it is
    free = list(range(workers))
    ending: float | None = None
    are_ready = 0
    while alive or ending is None:
        while ending is None and watched is not None and free:
            try:
                worker = os.fork()
            except OSError as error:  # there is no memory for it, or there are as many processes as there may be
                _log.error("a worker cannot be started and is tried again: %s", error.strerror)
                time.sleep(PAUSE)
                break
            if not worker:
                os.close(kept)
                os.close(told)
                _head = tell
                shared_metrics.take(free[0])
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
                threading.Thread(target=_watch, args=(head, watched), name="watch service", daemon=True).start()
                return
            alive[worker] = free.pop(0), time.monotonic()
        arrived = signal.sigtimedwait(_AWAITED, WATCH)
        orphaned = os.getppid() != supervisor
        if ending is None and (orphaned or (arrived is not None and arrived.si_signo != signal.SIGCHLD)):
            ending = time.monotonic()
            if orphaned:
                _log.error("process %d, which started the service, is gone; its workers end as well", supervisor)
            for worker in alive:
                os.kill(worker, signal.SIGTERM)
        if ending is not None and time.monotonic() - ending > LAST:
            for worker in alive:
                os.kill(worker, signal.SIGKILL)
        with suppress(BlockingIOError):
            are_ready += len(os.read(told, 1024))
        if before and are_ready >= workers:
            for one in before:
                with suppress(psutil.Error):
                    one.terminate()
            before = []
        early = False
        while alive and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            worker, status = ended
            slot, since = alive.pop(worker)
            free.append(slot)
            shared_metrics.gone(slot)
            early |= time.monotonic() - since < SOON
            if ending is None:
                _log.error("worker %d ended (%d); another takes its place", worker, os.waitstatus_to_exitcode(status))
        if ending is None and early:
            time.sleep(PAUSE)  # once for all who ended together
    os._exit(0)


def _left_over() -> list[psutil.Process]:
    """Workers of a forking process of this service that died: they have its environment."""
    told, found = settings().supervisor, []
    for process in psutil.process_iter() if told else ():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(variable("supervisor")) == told:
                found.append(process)
    if found:
        _log.error("the process that forked workers died; %d of them answer until others are ready", len(found))
    return found


def _watch(head: int, supervisor: psutil.Process) -> None:
    """Ends this worker where the service is gone. Without the process that forked it, it goes on."""
    forked, looked = [head], 1.0
    while _runs(supervisor):
        if select.select(forked, [], [], looked)[0]:
            _log.error("the process that forks workers is gone; this one answers until another's are ready")
            forked, looked = [], WATCH
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST)
    os._exit(1)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
