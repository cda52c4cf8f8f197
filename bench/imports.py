"""Print the CPU seconds that importing http.client takes; for a new process.

Not by the clock: an import waits for nothing but its turn on the processor.
"""

import time

start = time.process_time()
import http.client  # noqa: E402, F401
print(time.process_time() - start)
