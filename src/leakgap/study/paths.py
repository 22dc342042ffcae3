"""Every path under results/<study>/, named here once."""


class Paths:
    """Every path of a study, relative to the working directory. Arguments may be Snakemake wildcards."""

    # what one attack job writes, and what `summary` joins
    ATTACK_TABLES = ("metrics", "halves", "pooled", "replicates", "curves", "shadows")

    def __init__(self, name: str):
        self.root = f"results/{name}"
        self.pool = f"{self.root}/pool.npz"
        self.masks = f"{self.root}/masks.npz"
        self.models = f"{self.root}/models.csv"
        self.summary = f"{self.root}/summary.parquet"
        self.tables = f"{self.root}/tables"
        self.figures = f"{self.root}/figures"
        self.claims = f"{self.root}/claims"
        self.report = f"{self.root}/report.html"

    def logits(self, technique: str, mask: str) -> str:
        """Logits of one model, all steps."""
        return f"{self.root}/logits/{technique}/{mask}.parquet"

    def resume(self, technique: str, mask: str) -> str:
        """State of a training job that has not ended yet."""
        return f"{self.root}/resume/{technique}/{mask}.pt"

    def scores(self, technique: str, shadow: str) -> str:
        """Per-image scores of the attacks that are kept."""
        return f"{self.root}/scores/{technique}.by-{shadow}.parquet"

    def exposure(self, technique: str, shadow: str) -> str:
        """How often each image is caught."""
        return f"{self.root}/exposure/{technique}.by-{shadow}.parquet"

    def attack(self, technique: str, shadow: str, table: str) -> str:
        """One of ATTACK_TABLES of one attack job."""
        return f"{self.root}/attacks/{technique}.by-{shadow}.{table}.parquet"

    def joined(self, table: str) -> str:
        """One of ATTACK_TABLES of the whole study: `metrics` is the summary."""
        return self.summary if table == "metrics" else f"{self.root}/{table}.parquet"
