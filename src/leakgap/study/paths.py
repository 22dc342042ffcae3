"""Every path under results/<study>/, named here and nowhere else."""


class Paths:
    """Every path of a study, relative to the working directory. Arguments may be Snakemake wildcards."""

    # what one attack job writes and `summary` joins
    ATTACK_TABLES = (
        "summary",
        "halves",
        "pooled",
        "means",
        "draws",
        "curves",
        "shadows",
        "epsilon",
        "thresholds",
        "models",
    )
    # what `tables` and `figures` write; the last ones are of the masks alone, without a twin of the replicates
    TABLES = (
        *("decision", "techniques", "replicates", "steps", "attacks", "knowledge", "shadows", "precision"),
        *("thresholds", "epsilon", "exposed"),
    )
    FIGURES = (
        *("roc_by_technique", "pooled_tpr", "roc_by_step", "factorial", "attacks", "informed_vs_uninformed"),
        *("tpr_vs_acc_gap", "tpr_vs_test_acc", "tpr_vs_loss_gap"),
    )
    FIGURES_OF_MASKS = (
        *("decision", "shadow_models", "tpr_vs_acc_gap_by_technique", "tpr_vs_test_acc_by_technique"),
        *("tpr_vs_loss_gap_by_technique", "tpr_vs_train_acc", "tpr_vs_train_loss", "most_exposed"),
    )

    def __init__(self, name: str):
        self.root = f"results/{name}"
        self.downloaded = f"{self.root}/download.done"
        self.pool = f"{self.root}/pool.npz"
        self.masks = f"{self.root}/masks.npz"
        self.models = f"{self.root}/models.csv"
        self.summary = self.joined("summary")
        self.tables = f"{self.root}/tables"
        self.figures = f"{self.root}/figures"
        self.claims = f"{self.root}/claims.json"
        self.claims_page = f"{self.root}/claims.md"
        self.order = f"{self.root}/order.json"
        self.report = f"{self.root}/report.html"

    def joined(self, table: str) -> str:
        """One of ATTACK_TABLES of the whole study."""
        return f"{self.root}/{table}.parquet"

    @property
    def all_joined(self) -> list[str]:
        """ATTACK_TABLES of the whole study."""
        return [self.joined(table) for table in self.ATTACK_TABLES]

    @property
    def opened_first(self) -> list[str]:
        """Joined tables that are there as CSV too."""
        return [f"{self.root}/summary.csv", f"{self.root}/pooled.csv"]

    def logits(self, technique: str, mask: str) -> str:
        """Logits of one model, all steps."""
        return f"{self.root}/logits/{technique}/{mask}.parquet"

    def resume(self, technique: str, mask: str) -> str:
        """State of a training job that has not ended yet."""
        return f"{self.root}/resume/{technique}/{mask}.pt"

    def recipe_state(self, technique: str, mask: str) -> str:
        """Folder for the state of a recipe that has not ended yet."""
        return f"{self.root}/resume/{technique}/{mask}"

    def at_work(self, technique: str, mask: str) -> str:
        """What a training leaves while it runs."""
        return f"{self.root}/resume/{technique}/{mask}.running"

    def attack(self, technique: str, shadow: str, table: str) -> str:
        """One of ATTACK_TABLES of one attack job, or its `exposure`."""
        return f"{self.root}/attacks/{technique}.by-{shadow}/{table}.parquet"

    def attacked(self, technique: str, shadow: str) -> list[str]:
        """All tables of one attack job. How often each image is caught isn't joined: it has a row for each."""
        return [self.attack(technique, shadow, table) for table in (*self.ATTACK_TABLES, "exposure")]

    def scores(self, technique: str, shadow: str) -> str:
        """Per-image scores of the attacks that are kept."""
        return f"{self.root}/scores/{technique}.by-{shadow}.parquet"

    def table(self, name: str) -> list[str]:
        """One of TABLES, as numbers and for reading."""
        return [f"{self.tables}/{name}.csv", f"{self.tables}/{name}.md"]

    def figure(self, name: str) -> list[str]:
        """One of FIGURES, or its twin of the replicates, in both formats."""
        return [f"{self.figures}/{name}.svg", f"{self.figures}/{name}.png"]

    def comparison(self, other: str) -> str:
        """The page that puts another study beside this one; its numbers and drawings lie beside it."""
        return f"{self.root}/compare/{other}.md"

    def log(self, job: str) -> str:
        """What a job printed."""
        return f"{self.root}/logs/{job}.log"

    def benchmark(self, job: str) -> str:
        """What a job took."""
        return f"{self.root}/benchmarks/{job}.tsv"
