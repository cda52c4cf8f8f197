"""The benchmark: what the series costs, and what it saves."""
