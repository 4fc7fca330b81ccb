"""One torch thread: the models here are tiny, and tests share the machine's cores with their own worker processes."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
