"""Workers as actors of a Ray cluster. They read recordings and write frames themselves: only small numbers travel."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from any2seg_core.base.errors import UserError
from any2seg_core.fleet.engines.engine import Event, Worker
from any2seg_core.fleet.engines.queue import TaskQueue
from any2seg_core.fleet.packages import package

_LOOK_S = 1.0  # between two looks at how far the workers are
_CONNECT_S = 10.0
_ALONE = "local"  # Ray's word for a cluster of this machine that ends with the program


class _Actor:
    """What lives in an actor. Two threads: one works, the other says how far it is."""

    def __init__(self, make_worker: Callable[[], Worker]) -> None:
        self._make_worker = make_worker
        self._worker: Worker | None = None
        self._share = 0.0

    def run(self, task: Any) -> tuple[Any, Exception | None]:
        """Result and error of a task, as values: Ray would wrap what is raised."""
        self._share = 0.0
        try:
            self._worker = self._worker or self._make_worker()
            return self._worker.run(task, self._note), None
        except Exception as error:
            return None, error

    def share(self) -> float:
        """Of the present task that is done, 0 to 1."""
        return self._share

    def _note(self, share: float) -> None:
        self._share = share


class RayEngine:
    """Runs tasks in actors; see `Engine`. An actor that is lost, with its node too, is replaced.

    Args:
        make_worker: called in each actor, on any node; the package must be installed there.
        workers: actors; 0: as many as the cluster has room for. threads: CPUs of each. gpus: share of a GPU of each.
        address: ``ray://HOST:10001``, ``HOST:6379`` or ``auto``; "": a Ray of this machine, for as long as it lasts.

    Raises (on entering):
        UserError: Ray is not installed, the cluster cannot be reached, or it has no room for one worker.
    """

    def __init__(
        self,
        make_worker: Callable[[], Worker],
        workers: int = 0,
        threads: int = 1,
        gpus: float = 0.0,
        address: str = "",
    ) -> None:
        self.workers = workers
        self._make_worker, self._threads, self._gpus, self._address = make_worker, threads, gpus, address
        self._ray: Any = None
        self._is_ours = self._is_lost = False
        self._actors: dict[int, Any] = {}
        self._tasks: dict[int, Any] = {}
        self._asked: dict[int, Any] = {}

    def __enter__(self) -> RayEngine:
        self._ray = package("ray", "ray", "--engine ray")
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            self._connect()
        try:
            self._find_room()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for actor in () if self._is_lost else self._actors.values():
            self._end(actor)
        self._actors.clear()
        if self._is_ours:
            self._ray.shutdown()

    def events(self, tasks: Iterator[Any]) -> Iterator[Event]:
        """See `Engine`."""
        queue = TaskQueue(tasks)
        running: dict[Any, int] = {}
        while True:
            for number in range(self.workers):
                if number not in self._tasks and (task := queue.next()) is not None:
                    running[self._begin(number, task)] = number
                    yield Event(number, task)
            if not running:
                if not queue.is_empty:
                    raise RuntimeError("tasks wait for others, and none is under way")
                return
            ready, _ = self._asking(self._ray.wait, list(running), timeout=_LOOK_S)
            for reference in ready:
                yield self._over(running.pop(reference), reference, queue)
            if not ready:
                self._require_head()
                yield from self._shares()

    def _connect(self) -> None:
        address = self._address or _ALONE
        _require_open(address)
        try:
            self._ray.init(
                address=address, namespace="any2seg-fleet", log_to_driver=False, logging_level=logging.ERROR,
                **({"include_dashboard": False, "num_cpus": self.workers * self._threads or None}
                   if address == _ALONE else {}),
            )  # fmt: skip
        except Exception as error:  # of many kinds, those of gRPC among them
            raise UserError(_unreachable(address, error), "cluster-unreachable") from None

    def _require_head(self) -> None:
        """UserError where the head is gone: Ray itself would wait for a minute and end the program."""
        address = self._address if ":" in self._address else self._ray.get_runtime_context().gcs_address
        try:
            _require_open(address)
        except UserError:
            self._is_lost = True
            raise

    def _find_room(self) -> None:
        """At most as many workers as there is room for; UserError for none."""
        resources = self._asking(self._ray.cluster_resources)
        room = int(resources.get("CPU", 0) / self._threads)
        if self._gpus:
            room = min(room, int(resources.get("GPU", 0) / self._gpus))
        if room < 1:
            needs = f"{self._threads} CPUs" + (f" and {self._gpus:g} GPUs" if self._gpus else "")
            has = f"{resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs"
            raise UserError(
                f"Ray cluster {self._address or _ALONE}: has {has}, a worker takes {needs}: use fewer --threads or "
                "--gpus",
                "value-range",
            )
        self.workers = min(self.workers or room, room)

    def _begin(self, number: int, task: Any) -> Any:
        if number not in self._actors:
            remote = self._ray.remote(
                num_cpus=self._threads, num_gpus=self._gpus, max_restarts=0, max_task_retries=0, max_concurrency=2
            )(_Actor)
            self._actors[number] = self._asking(remote.remote, self._make_worker)
        self._tasks[number] = task
        return self._asking(self._actors[number].run.remote, task)

    def _over(self, number: int, reference: Any, queue: TaskQueue) -> Event:
        """What came of a task that is over; a lost actor goes, and the next task begins another one."""
        task = self._tasks.pop(number)
        self._asked.pop(number, None)
        try:
            result, error = self._ray.get(reference)
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.WorkerCrashedError) as lost:
            if getattr(lost, "actor_init_failed", False):  # as would the next one
                raise UserError(
                    f"Ray cluster {self._address or _ALONE}: a worker cannot begin ({_last_line(lost)}); install this "
                    "package with the same version on every node",
                    "process-failed",
                ) from None
            self._end(self._actors.pop(number))
            return queue.lost(number, task)
        except self._ray.exceptions.RayError as lost:
            raise UserError(_unreachable(self._address or _ALONE, lost), "cluster-unreachable") from None
        if error is not None:
            raise error
        queue.done(task)
        return Event(number, task, 1.0, result=result)

    def _shares(self) -> Iterator[Event]:
        """How far the workers are, as far as they have said so since they were asked last."""
        for number, task in list(self._tasks.items()):
            reference = self._asked.pop(number, None)
            if reference is None:
                self._asked[number] = self._actors[number].share.remote()
            elif not self._ray.wait([reference], timeout=0)[0]:
                self._asked[number] = reference
            else:
                try:
                    yield Event(number, task, share=self._ray.get(reference))
                except self._ray.exceptions.RayError:
                    continue  # it is lost: its task says so
        return

    def _end(self, actor: Any) -> None:
        try:
            self._ray.kill(actor)
        except Exception:  # it has ended, or the cluster has
            return

    def _asking(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """What a call to the cluster returns; UserError where that is gone."""
        try:
            return call(*arguments, **options)
        except (self._ray.exceptions.RaySystemError, ConnectionError) as error:
            raise UserError(_unreachable(self._address or _ALONE, error), "cluster-unreachable") from None


def _require_open(address: str) -> None:
    """UserError where nobody listens at HOST:PORT: Ray itself would try for minutes."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if not parts.hostname or (port is None and "://" not in address):
        return  # auto, local
    try:
        socket.create_connection((parts.hostname, port or 10001), timeout=_CONNECT_S).close()
    except OSError as error:
        raise UserError(_unreachable(address, error), "cluster-unreachable") from None


def _last_line(error: Exception) -> str:
    """The last thing that a traceback of Ray says."""
    return next((line.strip()[:200] for line in reversed(str(error).splitlines()) if line.strip()), "")


def _unreachable(address: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return f"Ray cluster {address}: cannot be reached ({reason}); finished recordings are kept, run the command again"
