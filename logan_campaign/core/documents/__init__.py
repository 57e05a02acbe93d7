"""Documents that jobs return: the contract between the science, the jobs and the stores.

Every document has a ``doc_type`` and a ``schema_version``; builders read only such documents from
the JobStore. Large parts have the keys in :data:`DATA_KEYS`, which jobs send to the additional
store ``data``. Fields shared with a record of the campaign database are declared once, in a
``…Fields`` class from which both derive. Lengths are in Å, energies in eV, times in seconds unless
a description states otherwise.
"""

from logan_campaign.core.documents.base import AS_PYMATGEN as AS_PYMATGEN
from logan_campaign.core.documents.base import AS_STORED as AS_STORED
from logan_campaign.core.documents.base import DATA_KEYS as DATA_KEYS
from logan_campaign.core.documents.base import SCHEMA_VERSION as SCHEMA_VERSION
from logan_campaign.core.documents.base import BlobRef as BlobRef
from logan_campaign.core.documents.base import Column as Column
from logan_campaign.core.documents.base import Document as Document
from logan_campaign.core.documents.base import Geometry as Geometry
from logan_campaign.core.documents.base import MoleculeIdentity as MoleculeIdentity
from logan_campaign.core.documents.base import Part as Part
from logan_campaign.core.documents.base import Record as Record
from logan_campaign.core.documents.base import Source as Source
from logan_campaign.core.documents.base import TargetKind as TargetKind
from logan_campaign.core.documents.base import blob_ref as blob_ref
from logan_campaign.core.documents.base import columns as columns
from logan_campaign.core.documents.base import compact as compact
from logan_campaign.core.documents.base import expand as expand
from logan_campaign.core.documents.base import marked as marked
from logan_campaign.core.documents.base import marks as marks
from logan_campaign.core.documents.base import shared as shared
from logan_campaign.core.documents.campaigns import CampaignDoc as CampaignDoc
from logan_campaign.core.documents.campaigns import CampaignFields as CampaignFields
from logan_campaign.core.documents.campaigns import ControlDoc as ControlDoc
from logan_campaign.core.documents.campaigns import FoundStructure as FoundStructure
from logan_campaign.core.documents.campaigns import Notice as Notice
from logan_campaign.core.documents.campaigns import NotificationDoc as NotificationDoc
from logan_campaign.core.documents.campaigns import NotificationFields as NotificationFields
from logan_campaign.core.documents.campaigns import RoundDoc as RoundDoc
from logan_campaign.core.documents.campaigns import RoundShare as RoundShare
from logan_campaign.core.documents.campaigns import RoundSummary as RoundSummary
from logan_campaign.core.documents.candidates import Candidate as Candidate
from logan_campaign.core.documents.candidates import CandidateState as CandidateState
from logan_campaign.core.documents.candidates import CheapRelaxationCount as CheapRelaxationCount
from logan_campaign.core.documents.candidates import ClassificationDoc as ClassificationDoc
from logan_campaign.core.documents.candidates import Judgement as Judgement
from logan_campaign.core.documents.candidates import PickFields as PickFields
from logan_campaign.core.documents.candidates import RejudgementDoc as RejudgementDoc
from logan_campaign.core.documents.candidates import ScreeningDoc as ScreeningDoc
from logan_campaign.core.documents.candidates import SelectionDoc as SelectionDoc
from logan_campaign.core.documents.candidates import SelectionFields as SelectionFields
from logan_campaign.core.documents.candidates import Verdict as Verdict
from logan_campaign.core.documents.candidates import VerdictFields as VerdictFields
from logan_campaign.core.documents.models import ModelDoc as ModelDoc
from logan_campaign.core.documents.models import ModelFields as ModelFields
from logan_campaign.core.documents.models import PoolDoc as PoolDoc
from logan_campaign.core.documents.models import PoolFields as PoolFields
from logan_campaign.core.documents.models import TrainingHistory as TrainingHistory
from logan_campaign.core.documents.relaxations import ReferenceDoc as ReferenceDoc
from logan_campaign.core.documents.relaxations import ReferenceEnergy as ReferenceEnergy
from logan_campaign.core.documents.relaxations import RelaxationDoc as RelaxationDoc
from logan_campaign.core.documents.relaxations import RelaxationFields as RelaxationFields
from logan_campaign.core.documents.relaxations import RelaxationsDoc as RelaxationsDoc
from logan_campaign.core.documents.relaxations import RelaxationState as RelaxationState
from logan_campaign.core.documents.sets import Change as Change
from logan_campaign.core.documents.sets import Changes as Changes
from logan_campaign.core.documents.sets import KnownLeak as KnownLeak
from logan_campaign.core.documents.sets import LeakageDoc as LeakageDoc
from logan_campaign.core.documents.sets import Manifest as Manifest
from logan_campaign.core.documents.sets import Origin as Origin
from logan_campaign.core.documents.sets import PulledRecord as PulledRecord
from logan_campaign.core.documents.sets import Rejection as Rejection
from logan_campaign.core.documents.sets import SetFields as SetFields
from logan_campaign.core.documents.sets import StructureEntry as StructureEntry
from logan_campaign.core.documents.sets import TargetLeaks as TargetLeaks
from logan_campaign.core.documents.sets import TrainingSetDoc as TrainingSetDoc
