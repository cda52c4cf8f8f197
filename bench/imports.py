"""Print the seconds that importing http.client takes; for a new process."""

import time

start = time.perf_counter()
import http.client  # noqa: E402, F401
print(time.perf_counter() - start)
