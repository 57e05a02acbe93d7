from logan_campaign.generators.descent.model import ALGORITHM_VERSION as ALGORITHM_VERSION
from logan_campaign.generators.descent.model import FORMAT as FORMAT
from logan_campaign.generators.descent.model import DescentModel as DescentModel
from logan_campaign.generators.descent.model import model_id as model_id
from logan_campaign.generators.descent.reference import fit as fit
from logan_campaign.generators.descent.settings import (
    DescentHyperparameters as DescentHyperparameters,
)
