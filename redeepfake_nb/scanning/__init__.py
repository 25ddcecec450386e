"""Many files become a journal: listed, scored in worker processes or on a cluster, reviewed by people.

A scan resumes where it stopped, records each file that failed, and never scores a known file twice.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
