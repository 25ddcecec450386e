from .app import App as App
from .batch import BatchInspector as BatchInspector
from .image import ImageInspector as ImageInspector
from .video import VideoInspector as VideoInspector
