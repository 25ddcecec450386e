"""Scan many files: list them, score them in worker processes or on a cluster, store and review the results.

A scan resumes where it stopped, records each file that failed, and never scores the same bytes twice.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
