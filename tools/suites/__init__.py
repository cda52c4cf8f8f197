"""The test suites: CPython's, those of the patches, and tests/."""
