"""Compute the tables in ``synthct/tables`` from published compositions: ``python Resources/Tables/make_tables.py``.

HU: Schneider, Bortfeld and Schlegel, Phys. Med. Biol. 45 (2000) 459-478, equation 8, with their k1 = 1.24e-3 and
k2 = 3.06e-5, fitted to a Siemens Somatom Plus 4 at 120 kV. The parametrisation, attenuation per atom as
Z + k1·Z^2.86 + k2·Z^4.62, is that of Rutherford, Pullan and Isherwood (1976).

Relative electron density: electrons per volume, ρ·Σ w·Z/A, over that of water.

Stopping-power ratio: the Bethe formula for protons of 100 MeV without shell and density corrections (Schneider, Pedroni
and Lomax, Phys. Med. Biol. 41 (1996) 111-124), with mean excitation energies by Bragg's rule from the elements' values
for compounds in ICRU Report 49 (1993), table 2.11, and for air its gas values. Water has 75 eV there.
"""

from __future__ import annotations

import argparse
import csv
import math
from dataclasses import dataclass
from pathlib import Path

ELEMENTS = {
    "H": (1, 1.008), "C": (6, 12.011), "N": (7, 14.007), "O": (8, 15.999), "Na": (11, 22.990), "Mg": (12, 24.305),
    "P": (15, 30.974), "S": (16, 32.06), "Cl": (17, 35.45), "Ar": (18, 39.948), "K": (19, 39.098), "Ca": (20, 40.078),
    "Fe": (26, 55.845),
}  # fmt: skip
"""Atomic number and standard atomic weight (IUPAC)."""

EXCITATION_EV = {
    "H": 19.2, "C": 81.0, "N": 82.0, "O": 106.0, "Cl": 180.0, "Ar": 188.0,
    **{name: 1.13 * value for name, value in
       {"Na": 149.0, "Mg": 156.0, "P": 173.0, "S": 180.0, "K": 190.0, "Ca": 191.0, "Fe": 286.0}.items()},
}  # fmt: skip
"""Mean excitation energies of elements in liquid and solid compounds in eV: those not listed there are 1.13 times the
element's own."""
EXCITATION_GAS_EV = {"C": 70.0, "N": 82.0, "O": 97.0, "Ar": 188.0}
WATER_EV = 75.0

K1, K2 = 1.24e-3, 3.06e-5
PROTON_MEV, PROTON_REST_MEV, ELECTRON_REST_EV = 100.0, 938.272, 510_998.95

BULK = {
    "air": "air", "lung": "lung inflated", "fat": "adipose tissue", "water": "water", "muscle": "skeletal muscle",
    "soft tissue": "skeletal muscle", "brain": "brain", "blood": "blood", "spongy bone": "spongiosa", "bone": "femur",
    "skull": "cranium", "cortical bone": "cortical bone",
}  # fmt: skip
"""Name in the bulk table → tissue. `bone` is a whole femur, cortical and spongy; `body` is water."""


@dataclass(frozen=True)
class Tissue:
    """A composition by mass fractions that add up to 1, and its density in g/cm3."""

    name: str
    source: str
    density: float
    fractions: dict[str, float]

    @property
    def electrons_per_gram(self) -> float:
        """Σ w·Z/A, in mol/g."""
        return sum(w * ELEMENTS[element][0] / ELEMENTS[element][1] for element, w in self.fractions.items())

    @property
    def attenuation(self) -> float:
        """Linear attenuation by Schneider's parametrisation, in its own unit."""
        return self.density * sum(
            w / ELEMENTS[element][1] * (z + K1 * z**2.86 + K2 * z**4.62)
            for element, w in self.fractions.items()
            for z in [ELEMENTS[element][0]]
        )

    @property
    def excitation_ev(self) -> float:
        """Mean excitation energy in eV by Bragg's rule; water's is the value that ICRU 49 gives it."""
        if self.name == "water":
            return WATER_EV
        values = EXCITATION_GAS_EV if self.name == "air" else EXCITATION_EV
        weights = {element: w * ELEMENTS[element][0] / ELEMENTS[element][1] for element, w in self.fractions.items()}
        logs = sum(weight * math.log(values[element]) for element, weight in weights.items())
        return math.exp(logs / sum(weights.values()))


def read_tissues() -> dict[str, Tissue]:
    """Return the tissues of ``tissues.csv`` by name."""
    text = Path(__file__).with_name("tissues.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    tissues = {}
    for row in csv.DictReader(lines):
        amounts = {element: float(row[element]) for element in ELEMENTS if float(row[element]) > 0}
        total = sum(amounts.values())
        fractions = {element: amount / total for element, amount in amounts.items()}
        tissues[row["name"]] = Tissue(row["name"], row["source"], float(row["mass_density_g_cm3"]), fractions)
    return tissues


def hu(tissue: Tissue, water: Tissue) -> float:
    """Hounsfield units on the generic 120 kV scanner."""
    return 1000 * (tissue.attenuation / water.attenuation - 1)


def relative_electron_density(tissue: Tissue, water: Tissue) -> float:
    """Electrons per volume, water = 1."""
    return tissue.density * tissue.electrons_per_gram / (water.density * water.electrons_per_gram)


def stopping_power_ratio(tissue: Tissue, water: Tissue) -> float:
    """Proton stopping power at 100 MeV, water = 1."""
    beta2 = 1 - (PROTON_REST_MEV / (PROTON_REST_MEV + PROTON_MEV)) ** 2

    def number(excitation_ev: float) -> float:
        return math.log(2 * ELECTRON_REST_EV * beta2 / (excitation_ev * (1 - beta2))) - beta2

    ratio = number(tissue.excitation_ev) / number(water.excitation_ev)
    return relative_electron_density(tissue, water) * ratio


def density_rows(tissues: dict[str, Tissue]) -> list[str]:
    """Lines of the density table by ascending HU."""
    water = tissues["water"]
    rows = sorted(
        (round(hu(tissue, water), 1), tissue.density, relative_electron_density(tissue, water),
         stopping_power_ratio(tissue, water), f"{tissue.name} ({tissue.source})")
        for tissue in tissues.values()
    )  # fmt: skip
    return [f"{value:.0f},{density:g},{red:.5g},{spr:.5g},{name}" for value, density, red, spr, name in rows]


def bulk_rows(tissues: dict[str, Tissue]) -> list[str]:
    """Lines of the bulk table by ascending HU."""
    water = tissues["water"]
    rows = [(round(hu(tissues[tissue], water)), name, tissue) for name, tissue in BULK.items()]
    rows.append((0, "body", "water"))
    return [f",{name},{value},{tissue} ({tissues[tissue].source})" for value, name, tissue in sorted(rows)]


DENSITY_HEAD = """\
# HU to mass density, relative electron density and proton stopping-power ratio (water = 1), computed by
# Resources/Tables/make_tables.py from the tissue compositions of ICRU Reports 44 and 46 (tissues.csv beside it).
# HU: stoichiometric parametrisation of Schneider, Bortfeld, Schlegel (Phys. Med. Biol. 45 (2000) 459), 120 kV,
# k1 = 1.24e-3, k2 = 3.06e-5. Stopping power: Bethe formula at 100 MeV, I-values of ICRU Report 49, water 75 eV.
# It is a generic table for research: a department must replace it by the calibration of its own CT scanner.
# Between rows values are interpolated linearly; outside the first and last HU those rows' values are taken.
hu,mass_density_g_cm3,relative_electron_density,stopping_power_ratio,tissue"""

BULK_HEAD = """\
# One HU per tissue for a CT by bulk assignment. A segment or structure is matched by its name; a plain label map needs
# a copy of this table with its own numbers in the column `label`.
# HU: the tissues of ICRU Reports 44 and 46 on the generic 120 kV scanner of hu_to_density.csv
# (Resources/Tables/make_tables.py). `body` is what has no other label: water. `bone` is a whole femur.
label,name,hu,tissue"""


def main() -> None:
    """Write both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[2] / "synthct" / "tables")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    tissues = read_tissues()
    for name, head, rows in (
        ("hu_to_density.csv", DENSITY_HEAD, density_rows(tissues)),
        ("bulk_hu.csv", BULK_HEAD, bulk_rows(tissues)),
    ):
        (folder / name).write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
