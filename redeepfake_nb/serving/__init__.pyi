from .options import ServingOptions as ServingOptions
from .server import serve as serve
