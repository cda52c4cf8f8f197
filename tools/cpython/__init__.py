"""Where a CPython comes from: packages, sources, and how it is compiled."""
