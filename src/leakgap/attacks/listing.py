"""The list of all attacks for reading, made from the registry so that it can't drift."""

from leakgap.attacks import ATTACKS, Attack


def print_attacks() -> None:
    """Print `markdown`."""
    print(markdown())


def markdown() -> str:
    """Return a Markdown table: every attack, what it scores, whose it is and what it needs."""
    lines = ["| attack | score | source | needs |", "|---|---|---|---|"]
    for name, attack in ATTACKS.items():
        lines.append(f"| `{name}` | {attack.description} | {attack.source} | {needs(attack)} |")
    return "\n".join(lines)


NEEDS = {
    "needs_logits": "logits",
    "needs_reserved": "reserved images",
    "needs_steps": "earlier steps",
    "needs_views": "several views",
    "needs_signals": "tokens' log-probabilities",
    "needs_base": "a base model",
    "needs_features": "features of the records",
}


def needs(attack: Attack) -> str:
    """Say what an attack needs besides phi of the target.

    >>> needs(Attack("", "", "", needs_logits=True, min_in=1, min_out=1))
    'logits; 1 in- and 1 out-model of every image'
    """
    wanted = [told for name, told in NEEDS.items() if getattr(attack, name)]
    if attack.min_in:
        wanted.append(f"{attack.min_in} in- and {_models(attack.min_out, 'out-model')} of every image")
    elif attack.min_out:
        wanted.append(f"{_models(attack.min_out, 'out-model')} of every image")
    if attack.min_shadows:
        wanted.append(_models(attack.min_shadows, "shadow model"))
    return "; ".join(wanted) or "nothing more"


def _models(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count > 1)
