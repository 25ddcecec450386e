from .reading import provenance as provenance
from .records import Action as Action
from .records import Claim as Claim
from .records import ContentCredentials as ContentCredentials
from .records import Ingredient as Ingredient
from .records import Provenance as Provenance
from .records import Thumbnail as Thumbnail
from .records import Trace as Trace
