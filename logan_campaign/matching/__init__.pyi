from logan_campaign.matching.crystals import CrystalMatch as CrystalMatch
from logan_campaign.matching.crystals import CrystalMatcher as CrystalMatcher
from logan_campaign.matching.crystals import Distance as Distance
from logan_campaign.matching.crystals import KnownCrystals as KnownCrystals
from logan_campaign.matching.spec import MatchingSpec as MatchingSpec
