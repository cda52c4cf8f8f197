"""The series: read it, apply it, rewrite it, export it."""
