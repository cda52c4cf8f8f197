"""The code behind ./series.  Python 3.9+, the standard library only."""
