from .exporter import About as About
from .exporter import join_and_export as join_and_export
from .exporter import train_and_export as train_and_export
from .leave_one_out import leave_one_source_out as leave_one_source_out
from .logs import ProgressBar as ProgressBar
from .recipes import Recipe as Recipe
from .recipes import choose_recipe as choose_recipe
from .trainer import train as train
