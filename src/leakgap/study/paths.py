"""Every path under results/<study>/, named here and nowhere else."""


class Paths:
    """Every path of a study, relative to the working directory. Arguments may be Snakemake wildcards."""

    # what `tables` and `figures` write; the last ones are of the masks alone, without a twin of the replicates
    TABLES = (
        *("decision", "techniques", "replicates", "steps", "attacks", "knowledge", "shadows", "precision"),
        *("thresholds", "epsilon", "exposed"),
    )
    FIGURES = (
        *("roc_by_technique", "pooled_tpr", "roc_by_step", "factorial", "attacks", "informed_vs_uninformed"),
        *("tpr_vs_acc_gap", "tpr_vs_test_acc", "tpr_vs_loss_gap"),
    )
    OF_AUGMENTATION = ("factorial",)
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
        self.results = f"{self.root}/results.zip"
        self.summary = f"{self.root}/summary.parquet"
        self.pooled = f"{self.root}/pooled.parquet"
        self.tables = f"{self.root}/tables"
        self.figures = f"{self.root}/figures"
        self.claims = f"{self.root}/claims.json"
        self.claims_page = f"{self.root}/claims.md"
        self.order = f"{self.root}/order.json"
        self.report = f"{self.root}/report.html"

    @property
    def for_people(self) -> list[str]:
        """What is there to be opened first: made of the results, and read by no job."""
        return [self.summary, self.pooled, f"{self.root}/summary.csv", f"{self.root}/pooled.csv"]

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

    def attack(self, technique: str, shadow: str) -> str:
        """All tables of one attack job."""
        return f"{self.root}/attacks/{technique}.by-{shadow}.zip"

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
