"""The demonstration: POSTs after an idle close, stock and patched."""
