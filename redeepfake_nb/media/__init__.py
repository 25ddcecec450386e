"""Safe decoding of untrusted images and videos to upright RGB frames.

Paths, bytes, arrays and uploads become :class:`Frame` records within limits on size, memory and time;
whatever was repaired, assumed or left out is recorded in their :class:`Source`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
