from .annotated_video import annotate_video as annotate_video
from .evaluation import save_evaluation as save_evaluation
from .files import save as save
from .files import save_all as save_all
from .files import to_csv as to_csv
from .files import to_json as to_json
from .html_page import html as html
from .video_evaluation import save_video_evaluation as save_video_evaluation
