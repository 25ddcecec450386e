"""A record becomes a file: JSON, CSV, one self-contained HTML page, or an annotated video.

Files are written whole or not at all, and name nothing of the machine that wrote them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
