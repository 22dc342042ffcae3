"""What the values of a study mean to its stages: models, attack jobs, whose results are shown, files.

Apart from the study file, whose own code only checks values: those are what a job is given, so an edit there can
change a job by its values alone, and an edit here by what is made of them.
"""

from typing import TYPE_CHECKING, Any

from leakgap.measure.least import least_nonmembers
from leakgap.study.paths import Paths

NONE = "none"


def attacker(technique: str, shadow: str) -> str:
    """Name the attacker of a job: informed when the shadow models share the target's technique."""
    return "informed" if technique == shadow else "uninformed"


class Headline:
    """Which attacks are shown and stored."""

    if TYPE_CHECKING:
        attacks: Any
        keep: Any

    @property
    def headline(self) -> str:
        """The attack that figures and claims are about."""
        return self.attacks[0]

    @property
    def kept(self) -> tuple[str, ...]:
        """Attacks whose per-image scores are stored."""
        return self.attacks[:1] if self.keep is None else self.keep


class Span:
    """The models and jobs of a study, by the names that are their wildcards and files."""

    if TYPE_CHECKING:
        name: Any
        data: Any
        grid: Any
        attack: Any

    @property
    def attacker(self) -> str:
        """The attacker that tables and figures are about: informed wherever the study has it."""
        return "informed" if "informed" in self.attack.attackers else "uninformed"

    def shadow(self, technique: str) -> str:
        """Return the technique of the shadow models with which `attacker` attacks a technique."""
        return technique if self.attacker == "informed" else self.attack.baseline

    @property
    def augmentations(self) -> tuple[str, ...]:
        """The names of the grid that are techniques of augmentation and nothing else."""
        return tuple(name for name in self.grid.techniques if name not in self.grid.variants)

    @property
    def augments(self) -> bool:
        """Does the study vary augmentation, which the paper's claims are about?"""
        return any(name != NONE for name in self.augmentations)

    @property
    def shortages(self) -> list[str]:
        """What a single target's non-members are too few for, a sentence each; none where these are not known.

        All masks being halves, every target has the same number of them (one more, where the images are odd).
        """
        if self.data.records is None:
            return []
        free = max(0, self.data.unreserved(self.data.records))
        return [
            f"data.size: a single target has {free // 2} non-members, and its TPR at {100 * fpr:g}% FPR is "
            f"undefined with fewer than {need}: that takes {2 * need} images that are not reserved, and there are "
            f"{free}; pooled TPRs are not concerned"
            for fpr in self.attack.fpr
            if (need := least_nonmembers(fpr)) > free // 2
        ]

    @property
    def masks(self) -> list[str]:
        """Wildcards of the masks: m000, m001, ..."""
        return [f"m{index:03}" for index in range(self.grid.masks)]

    @property
    def models(self) -> list[str]:
        """Wildcards of all models of a technique: its masks, then replicates of mask 0: r000, ..."""
        return self.masks + [f"r{index:03}" for index in range(self.grid.replicates)]

    @property
    def attack_jobs(self) -> list[tuple[str, str]]:
        """(technique, shadow technique) of every attack job. Against the baseline both attackers are the same."""
        jobs = []
        for technique in self.grid.techniques:
            if "informed" in self.attack.attackers or technique == self.attack.baseline:
                jobs.append((technique, technique))
            if "uninformed" in self.attack.attackers and technique != self.attack.baseline:
                jobs.append((technique, self.attack.baseline))
        return jobs

    @property
    def paths(self) -> Paths:
        """Where the study's files are."""
        return Paths(self.name)

    @property
    def attacked(self) -> list[str]:
        """What `summary` joins: the tables of every attack job."""
        return [self.paths.attack(*job) for job in self.attack_jobs]

    @property
    def scores(self) -> list[str]:
        """Scores of every record: a file per technique, by `attacker`."""
        return [self.paths.scores(technique, self.shadow(technique)) for technique in self.grid.techniques]

    @property
    def tables(self) -> list[str]:
        """What `tables` writes: every table, and the index of those that have rows."""
        paths = [path for name in self.paths.TABLES for path in self.paths.table(name)]
        return [*paths, f"{self.paths.tables}/index.json"]

    @property
    def figures(self) -> list[str]:
        """What `figures` writes: every figure, those of the replicates, and their index."""
        figures = [
            name for name in self.paths.FIGURES if self.augments or name not in self.paths.OF_AUGMENTATION
        ]
        names = [*figures, *self.paths.FIGURES_OF_MASKS]
        if self.grid.replicates:
            names += [f"{name}_replicates" for name in figures]
        return [
            *(path for name in names for path in self.paths.figure(name)),
            f"{self.paths.figures}/index.json",
        ]
