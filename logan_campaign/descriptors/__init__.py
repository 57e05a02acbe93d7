"""Local atomic descriptors: invariant under rotation, translation and like-atom exchange."""

from logan_campaign.descriptors.batch import batch_spectra, structure_descriptors
from logan_campaign.descriptors.environments import power_spectrum
from logan_campaign.descriptors.kernel import Descriptor

__all__ = ["Descriptor", "batch_spectra", "power_spectrum", "structure_descriptors"]
