from logan_campaign.generators.descent.model import DescentModel as DescentModel
from logan_campaign.generators.descent.reference import fit as fit
from logan_campaign.generators.descent.settings import (
    DescentHyperparameters as DescentHyperparameters,
)
