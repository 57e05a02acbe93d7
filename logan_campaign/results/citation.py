"""The paper that the method is from: one place for everything that cites it."""

from __future__ import annotations

TITLE = "LoGAN: local generative adversarial network for novel structure prediction"
AUTHORS = (
    ("Péter", "Kovács"),
    ("Esther", "Heid"),
    ("Jasper", "De Landsheere"),
    ("Georg K. H.", "Madsen"),
)
JOURNAL = "Machine Learning: Science and Technology"
VOLUME, ARTICLE, YEAR = "5", "035079", 2024

#: DOI of the data and code published with the paper.
DATA_DOI = "10.5281/zenodo.10944145"
DATA_URL = f"https://doi.org/{DATA_DOI}"
