from logan_campaign.campaign.spec import CampaignSpec as CampaignSpec
from logan_campaign.flows.campaign import CampaignMaker as CampaignMaker
from logan_campaign.flows.data import LeakageMaker as LeakageMaker
from logan_campaign.flows.data import TrainingSetMaker as TrainingSetMaker
from logan_campaign.flows.generate import GenerateMaker as GenerateMaker
from logan_campaign.flows.judge import ClassifyMaker as ClassifyMaker
from logan_campaign.flows.judge import CompareMaker as CompareMaker
from logan_campaign.flows.judge import ScreenMaker as ScreenMaker
from logan_campaign.flows.known import KnownEntriesMaker as KnownEntriesMaker
from logan_campaign.flows.learned import LearnedSetMaker as LearnedSetMaker
from logan_campaign.flows.levels import RelaxLevelMaker as RelaxLevelMaker
from logan_campaign.flows.levels import RelaxLevelsMaker as RelaxLevelsMaker
from logan_campaign.flows.reference import ElementMaker as ElementMaker
from logan_campaign.flows.reference import ReferenceMaker as ReferenceMaker
from logan_campaign.flows.relax import ASECalculatorRelaxMaker as ASECalculatorRelaxMaker
from logan_campaign.flows.relax import GPAWRelaxMaker as GPAWRelaxMaker
from logan_campaign.flows.relax import GPAWStaticMaker as GPAWStaticMaker
from logan_campaign.flows.relax import XTBRelaxMaker as XTBRelaxMaker
from logan_campaign.flows.rounds import NextRoundMaker as NextRoundMaker
from logan_campaign.flows.rounds import RoundMaker as RoundMaker
from logan_campaign.flows.select import SelectMaker as SelectMaker
from logan_campaign.flows.train import TrainMaker as TrainMaker
from logan_campaign.results.campaign import Campaign as Campaign
from logan_campaign.results.campaign import Results as Results
from logan_campaign.stores.open import open_store as open_store

__version__: str
