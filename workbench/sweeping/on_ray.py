"""Actors of a Ray cluster: one a GPU, the model loaded once an actor, shards given to whichever is free.

Ray restarts an actor that died and gives it its shard again; what a shard gave is kept by `workbench.sweeping.spread`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from workbench.errors import InputError, WorkbenchError
from workbench.events import LoadRequest
from workbench.models.info import ModelInfo
from workbench.sweeping.pools import RETRIES, Told
from workbench.sweeping.worker import Shards

LOCAL = "local"


class _Actor:
    """What runs on the cluster. A plain class, so that the tests can call it."""

    def __init__(self, load: str) -> None:
        self._shards = Shards(load)

    def model(self) -> tuple[str | None, str | None]:
        """What was loaded, as JSON, or why nothing was."""
        found = self._shards.model
        return (found.model_dump_json() if found else None), self._shards.error

    def answer(self, sweep: str, number: int, of: int) -> str:
        """The answer of one shard, as JSON."""
        self._shards.take(sweep)
        return self._shards.answer(number, of)


class RayPool:
    """Actors on the cluster at ``address``, or on a Ray of its own on this machine (``local``).

    ``workers`` None: one for each GPU, or for each processor where there is no GPU. Raises `InputError` without the
    library or a cluster there, `WorkbenchError` where the model cannot be loaded.
    """

    def __init__(self, load: LoadRequest, address: str, workers: int | None = None) -> None:
        if find_spec("ray") is None:
            raise InputError("the library ray is not installed here; run: pip install 'lm-workbench[ray]'")
        import ray

        self._ray, self._own = ray, not ray.is_initialized()
        if self._own:
            where = {"num_cpus": workers} if address == LOCAL else {"address": address}
            try:
                ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False, **where)
            except (ConnectionError, ValueError, RuntimeError) as error:
                why = str(error).partition("\n")[0]
                raise InputError(
                    f"there is no Ray cluster at {address} ({why}); start one, or use --ray local"
                ) from error
        try:
            there = ray.cluster_resources()
            gpus = int(there.get("GPU", 0))
            self.workers = workers or gpus or max(1, int(there.get("CPU", 1)))
            on = {"num_gpus": 1} if gpus else {"num_cpus": 1}
            actor = ray.remote(max_restarts=RETRIES, max_task_retries=RETRIES, **on)(_Actor)
            self._actors = [actor.remote(load.model_dump_json()) for _ in range(self.workers)]
            found, why_not = ray.get(self._actors[0].model.remote())
        except ray.exceptions.RayError as error:
            self.close()
            raise WorkbenchError(f"no actor of Ray could load the model ({str(error).splitlines()[0]})") from error
        except BaseException:
            self.close()
            raise
        if found is None:
            self.close()
            raise WorkbenchError(why_not or "no actor of Ray could load the model")
        self.model = ModelInfo.model_validate_json(found)

    def answers(self, sweep: str, numbers: Sequence[int], of: int, told: Told) -> Iterator[str]:
        """As `workbench.sweeping.pools.WorkerPool`; an actor tells of nothing before its shard is done."""
        del told
        from ray.util import ActorPool

        shared = self._ray.put(sweep)

        def give(actor: Any, number: int) -> Any:
            return actor.answer.remote(shared, number, of)

        try:
            yield from ActorPool(self._actors).map_unordered(give, numbers)
        except self._ray.exceptions.RayError as error:
            raise WorkbenchError(
                f"an actor of Ray died {RETRIES + 1} times ({str(error).splitlines()[0]}); what is done is kept: run "
                "it again"
            ) from error

    def close(self) -> None:
        """As `workbench.sweeping.pools.WorkerPool`. A cluster that was there before stays."""
        for actor in getattr(self, "_actors", ()):
            self._ray.kill(actor)
        if self._own:
            self._ray.shutdown()
