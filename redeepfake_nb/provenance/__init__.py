"""What a file says of itself: Content Credentials, metadata, generator parameters and traces of handling.

:func:`provenance` reads a picture or a video and returns a :class:`Provenance`. What is declared and verified
is kept apart from what is merely claimed, and neither changes a score.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
