"""Interpreters with the series: build one, make a virtual environment."""
