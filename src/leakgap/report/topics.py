"""What the report's results are about, in their order: figures and tables name the topic that they belong to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """A section of the results: its name among the links, heading, and what holds for everything in it."""

    short: str
    heading: str
    lead: str


DECISION = "decision"  # stands before the results, with its sentences: `report.decision`
TOPICS = {
    "leak": Topic(
        "Leak",
        "Leak by variant and step",
        "Pooled TPR: the share of all pairs (model, image of its training set) above one threshold, set so "
        "that the false positive rate (FPR) is met by all pairs of a model and an image that it was not "
        "trained on. A mean TPR over targets, each with a threshold of its own, is another number, and "
        "undefined if one of them is.",
    ),
    "attackers": Topic(
        "Attackers",
        "Attacks and attackers",
        "The informed attacker's shadow models are trained like the target, the uninformed one's by the "
        "baseline.",
    ),
    "consequences": Topic(
        "Gain", "What the attacker gains", "All of it at the last step, by the headline attack."
    ),
    "generalization": Topic(
        "Generalization",
        "Leak and generalization",
        "One dot for each target model and step. Its TPR is its own (conformal threshold on its own "
        "non-members), at the smallest FPR that is defined for all targets. **Censored**: a TPR in the "
        "shaded band, up to the upper end of the 95% interval of what exchangeable members and non-members "
        "give (beta-binomial), can't be told from chance; it is drawn as an open mark on the dashed line, "
        "at the FPR itself. Dots are no independent observations: what can be concluded from them stands under "
        "what orders the leak.",
    ),
    "images": Topic(
        "Records",
        "Records at risk",
        "A record is caught by a target trained on it where its score is above the target's threshold at 1% "
        "FPR. By chance a target catches a record with a probability of at most 1%, so that the number of "
        "catches is binomial. **Shown are records that are caught more often than chance explains**: as "
        "many catches or more have a probability of at most 5% over the number of records and variants that "
        "are looked at (Bonferroni), so that, were nothing given away, none would be shown in 95% of all "
        "studies.",
    ),
}
