"""Runners do tasks in a child process (`local`) or in Ray actors (`ray`); the code of the stages knows neither."""

from datagen.runners.local import run_local
from datagen.runners.supervise import Fingerprint, Supervision, WorkerStatus
from datagen.runners.tasks import Factory, Report, Task, Worker

__all__ = ["Factory", "Fingerprint", "Report", "Supervision", "Task", "Worker", "WorkerStatus", "run_local"]
