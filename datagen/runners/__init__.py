"""Ways to get tasks done: by a child process, or by Ray actors that pull them. Stage code knows neither."""

from datagen.runners.local import run_local
from datagen.runners.supervise import Doing, Fingerprint, Supervision
from datagen.runners.tasks import Factory, Report, Task, Worker

__all__ = ["Doing", "Factory", "Fingerprint", "Report", "Supervision", "Task", "Worker", "run_local"]
