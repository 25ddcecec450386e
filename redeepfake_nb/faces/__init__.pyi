from .detection import Detection as Detection
from .detection import Detector as Detector
from .detection import detector_names as detector_names
from .detection import register_detector as register_detector
from .face import Face as Face
from .face import find_faces as find_faces
from .preprocessing import Preprocessing as Preprocessing
from .preprocessing import preprocess as preprocess
