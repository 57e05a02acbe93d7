"""A sparse Gaussian process for energies, forces and stresses.

The energy of a structure is a sum of (a) a constant per species; (b) a repulsion of atoms that
are too close, which is not learned; (c) Gaussians of the distances of pairs; (d) for every atom,
kernels k(p, q) = (p·q)^ζ of its power spectrum with *inducing environments* of its species (Bartók
and Csányi, Int. J. Quantum Chem. 115, 1051 (2015), doi 10.1002/qua.24927). All but (b) are linear
in their weights, so that energies, forces and strain derivatives are rows of one regularised
least-squares problem, solved by QR (Foster et al., JMLR 10, 857 (2009)). Its triangular factor
gives the variance of an energy (deterministic training conditional).

Environments of a few relaxations are few and alike: kernels with them alone cannot express the
forces between (fitted forces of silica were wrong by 0.28 of 0.47 eV/Å). So inducing environments
come from displaced copies of the frames as well (0.01 eV/Å then); these need no energies.

With C columns (pairs and inducing environments) and R = Σ(1 + 3N + 6) rows over all frames, a fit
takes O((R + C) C²) time and O(R C + frames · N² F) memory; ``max_frames`` and ``n_inducing`` bound
both. What a frame contributes is kept: a new frame adds its own rows and columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from ase import Atoms
from scipy.linalg import block_diag, qr, solve_triangular

from logan_campaign.core.errors import InputError
from logan_campaign.core.model_files import read_model, write_tensors
from logan_campaign.potentials.features import (
    Basis,
    Features,
    farthest,
    features,
    potential_basis,
    spectra,
)
from logan_campaign.potentials.settings import PotentialSettings

FORMAT = "logan-campaign potential"
VERSION = 1

#: Added to the diagonals of kernels between inducing environments and between distances.
_JITTER = 1e-6

#: Noise of forces (eV/Å), unless it is set.
_FORCE_NOISE = 0.01


class Prediction(NamedTuple):
    """What a potential says about a structure of N atoms.

    Attributes:
        energy: (eV)
        forces: (N, 3) (eV/Å).
        stress: (6,) (eV/Å³), Voigt order; zero for molecules.
        error: standard deviation of the energy (eV/atom), before calibration.
    """

    energy: float
    forces: np.ndarray
    stress: np.ndarray
    error: float


class _Frame(NamedTuple):
    """A frame with its features."""

    values: np.ndarray  # (1 + 3N,) or with the strain's six: energy and derivatives (eV, eV/Å)
    noise: np.ndarray  # of the same shape
    features: Features
    kernels: np.ndarray  # (1 + 3N (+ 6), m) with the first m inducing environments


@dataclass(eq=False)
class SparsePotential:
    """A potential and the frames that it learns from.

    :meth:`learn` adds frames, :meth:`fit` takes account of them.

    Args:
        species: atomic numbers that may occur.
        settings: all settings.
    """

    species: Sequence[int]
    settings: PotentialSettings = field(default_factory=PotentialSettings)

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self.species = tuple(sorted(set(self.species)))
        self.basis: Basis = potential_basis(self.species, self.settings.r_cut, self.settings.n_max)
        self.frames: list[_Frame] = []
        n_features = self.basis.descriptor.n_spectrum
        #: (M, F) inducing environments and (M,) their species.
        self.points = np.zeros((0, n_features))
        self.kinds = np.zeros(0, int)
        #: (n_species,) energy of an atom before anything else (eV).
        self.offsets = np.zeros(len(self.species))
        #: (C,) weights of pairs and inducing environments (eV), and R (C, C) with (RᵀR)⁻¹ their
        #: covariance.
        self.weights = np.zeros(0)
        self.factor = np.zeros((0, 0))

    @property
    def id(self) -> str:
        """Content id."""
        return f"pot-{hashlib.sha256(self.to_bytes()).hexdigest()[:16]}"

    def learn(
        self, atoms: Atoms, energy: float, forces: np.ndarray, stress: np.ndarray | None = None
    ) -> None:
        """Add a frame; the oldest is dropped where there are more than ``max_frames``.

        Args:
            atoms: N atoms.
            energy: (eV)
            forces: (N, 3) (eV/Å).
            stress: (6,) (eV/Å³), Voigt order; None if not known.

        Raises:
            InputError: the structure has species that the potential lacks.
        """
        found, own = features(self.basis, atoms), self.settings
        of_forces = own.growth * float(np.sqrt(np.mean(np.square(forces))))
        values = [np.array([energy]), -np.ravel(forces)]
        # an energy errs by the same share as the forces do along a displacement of 0.1 Å
        noise = [
            np.array([len(atoms) * (own.energy_noise + 0.1 * of_forces)]),
            np.full(3 * len(atoms), (own.force_noise or _FORCE_NOISE) + of_forces),
        ]
        if stress is not None:
            values.append(stress * atoms.get_volume())
            noise.append(np.full(6, 10.0 * noise[0][0]))
        if len(self.frames) == own.max_frames:
            del self.frames[0]
        none = np.zeros((sum(map(len, values)), 0))
        self.frames.append(
            _Frame(np.concatenate(values), np.concatenate(noise), found, kernels=none)
        )
        # equal frames have equal copies, so that a fit can be repeated
        rng = np.random.default_rng(len(self.points))
        copy = Atoms(atoms.numbers, cell=atoms.cell, pbc=atoms.pbc)
        environments = [found.spectra]
        for _ in range(own.copies):
            copy.positions = atoms.positions + rng.normal(0, own.displacement, (len(atoms), 3))
            environments.append(spectra(self.basis, copy))
        self._induce(np.concatenate(environments), np.tile(found.kinds, 1 + own.copies))

    def _induce(self, environments: np.ndarray, kinds: np.ndarray) -> None:
        """Add inducing environments, and drop the oldest where there are too many."""
        most = self.settings.n_inducing
        for k in range(len(self.species)):
            own = environments[kinds == k]
            chosen = farthest(own, most, self.points[self.kinds == k])
            self.points = np.concatenate([self.points, own[chosen]])
            self.kinds = np.append(self.kinds, np.full(len(chosen), k))
        places = [np.flatnonzero(self.kinds == k) for k in range(len(self.species))]
        dropped = np.concatenate([place[:-most] for place in places])
        if not len(dropped):
            return
        self.points = np.delete(self.points, dropped, axis=0)
        self.kinds = np.delete(self.kinds, dropped)
        self.frames = [
            f._replace(kernels=np.delete(f.kernels, dropped[dropped < f.kernels.shape[1]], axis=1))
            for f in self.frames
        ]

    def _complete(self, frame: _Frame) -> _Frame:
        """Return a frame with the kernels of all inducing environments."""
        done = frame.kernels.shape[1]
        if done == len(self.points):
            return frame
        more = self._kernels(frame, self.points[done:], self.kinds[done:])
        return frame._replace(kernels=np.concatenate([frame.kernels, more], axis=1))

    def _kernels(self, frame: _Frame, points: np.ndarray, kinds: np.ndarray) -> np.ndarray:
        """Return what multiplies the weights of environments in a frame's rows."""
        found, zeta = frame.features, self.settings.zeta
        overlap = found.spectra @ points.T
        same = found.kinds[:, None] == kinds
        n = len(frame.values) - 1
        change = np.where(same, zeta * overlap ** (zeta - 1), 0.0)
        rows = np.zeros((n + 1, len(points)))
        rows[0] = np.where(same, overlap**zeta, 0.0).sum(axis=0)
        for slopes, one in zip(found.spectra_slopes, change, strict=True):
            rows[1:] += (slopes[:n] @ points.T) * one
        return rows

    def fit(self) -> None:
        """Take account of all frames.

        Raises:
            InputError: there are no frames.
        """
        if not self.frames:
            raise InputError("a potential needs at least one frame to learn from")
        own = self.settings
        self.frames = [self._complete(frame) for frame in self.frames]
        counts = np.array(
            [[(f.features.kinds == k).sum() for k in range(len(self.species))] for f in self.frames]
        )
        scales = np.array([f.noise[0] for f in self.frames])
        left = np.array([f.values[0] - f.features.repulsion for f in self.frames])
        self.offsets = np.linalg.lstsq(counts / scales[:, None], left / scales, rcond=1e-9)[0]
        rows, values = [], []
        for frame, count in zip(self.frames, counts, strict=True):
            found, n = frame.features, len(frame.values)
            slopes = found.pairs_slopes[: n - 1]
            pairs = np.concatenate([found.pairs[None], slopes])
            fixed = np.append(
                found.repulsion + count @ self.offsets, found.repulsion_slopes[: n - 1]
            )
            rows.append(np.concatenate([pairs, frame.kernels], axis=1) / frame.noise[:, None])
            values.append((frame.values - fixed) / frame.noise)
        grid = self.basis.grid
        alike = np.exp(-0.5 * ((grid[:, None] - grid) / self.basis.width) ** 2)
        same = self.kinds[:, None] == self.kinds
        prior = block_diag(
            *[_root(alike) / own.pair_scale] * len(self.basis.pairs),
            _root(np.where(same, self.points @ self.points.T, 0.0) ** own.zeta) / own.scale,
        )
        n = len(prior)
        matrix = np.column_stack(
            [
                np.concatenate([*rows, prior]),
                np.concatenate([*values, np.zeros(n)]),
            ]
        )
        (turned,) = qr(matrix, mode="r", overwrite_a=True, check_finite=False)
        self.factor = turned[:n, :n]
        self.weights = solve_triangular(self.factor, turned[:n, n])

    def predict(self, atoms: Atoms, *, error: bool = True) -> Prediction:
        """Return energy, forces and stress of a structure.

        Args:
            atoms: N atoms.
            error: whether to compute the standard deviation of the energy, which takes longer.

        Raises:
            InputError: the structure has species that the potential lacks.
        """
        found, zeta = features(self.basis, atoms), self.settings.zeta
        n_pairs, n = len(found.pairs), 3 * len(atoms)
        of_pairs, of_points = self.weights[:n_pairs], self.weights[n_pairs:]
        overlap = found.spectra @ self.points.T
        same = found.kinds[:, None] == self.kinds
        kernels = np.where(same, overlap**zeta, 0.0).sum(axis=0)
        by_spectra = np.where(same, zeta * overlap ** (zeta - 1) * of_points, 0.0) @ self.points
        slopes = (
            np.einsum("inf,if->n", found.spectra_slopes, by_spectra)
            + found.pairs_slopes @ of_pairs
            + found.repulsion_slopes
        )
        energy = (
            found.pairs @ of_pairs
            + kernels @ of_points
            + found.repulsion
            + self.offsets[found.kinds].sum()
        )
        deviation = np.nan
        if error:
            columns = np.concatenate([found.pairs, kernels])
            along = solve_triangular(self.factor, columns, trans="T")
            deviation = float(np.linalg.norm(along)) / len(atoms)
        volume = atoms.get_volume() if atoms.pbc.any() else np.inf
        return Prediction(float(energy), -slopes[:n].reshape(-1, 3), slopes[n:] / volume, deviation)

    def to_bytes(self) -> bytes:
        """Return what predicts, without frames, as the contents of a safetensors file."""
        header = {
            "settings": self.settings.model_dump(mode="json"),
            "species": list(self.species),
            "algorithm_version": VERSION,
        }
        arrays = {
            "offsets": self.offsets,
            "points": self.points,
            "kinds": self.kinds,
            "weights": self.weights,
            "factor": self.factor,
        }
        return write_tensors(FORMAT, header, arrays)

    @classmethod
    def from_bytes(cls, content: bytes) -> SparsePotential:
        """Return the potential in the bytes of :meth:`to_bytes`; it has no frames.

        Raises:
            ModelFileError: the bytes are truncated, not a potential, or of another version.
        """
        header, arrays = read_model(FORMAT, VERSION, content)
        found = cls(header["species"], PotentialSettings.model_validate(header["settings"]))
        found.offsets, found.weights = arrays["offsets"], arrays["weights"]
        found.points, found.kinds = arrays["points"], arrays["kinds"]
        found.factor = arrays["factor"]
        return found


def _root(kernels: np.ndarray) -> np.ndarray:
    """Return R with RᵀR the kernels (n, n)."""
    kernels[np.diag_indices_from(kernels)] += _JITTER
    return np.asarray(np.linalg.cholesky(kernels).T)
