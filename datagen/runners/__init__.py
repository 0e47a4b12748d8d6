"""Ways to get tasks done: in this process, or by Ray actors that pull them. Stage code knows neither."""

from datagen.runners.local import run_local
from datagen.runners.tasks import Factory, Report, Task, Worker

__all__ = ["Factory", "Report", "Task", "Worker", "run_local"]
