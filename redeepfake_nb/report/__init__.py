"""Write records to files: JSON, CSV, a self-contained HTML page, an annotated video, evaluation results.

Files are written atomically and contain nothing about the machine that wrote them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
