"""First sentences of the documentation in five Python libraries that leakgap depends on: nothing to fetch."""

import re
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np

LIBRARIES = ["matplotlib", "numpy", "pandas", "scipy", "sklearn"]
WORDS, BUCKETS = 16, 4096  # words kept of a sentence, and different numbers that a word may have


def sentences() -> dict[str, np.ndarray]:
    """Tokens int64 [sentences, 16], 0 where a sentence is over, and labels: the library that it is from.

    A sentence is there once, however many functions it describes: else members would return as non-members.
    """
    library = {}
    for label, name in enumerate(LIBRARIES):
        (folder,) = find_spec(name).submodule_search_locations
        for path in sorted(Path(folder).rglob("*.py")):
            if "tests" not in path.parts:
                for text in path.read_text(encoding="utf-8").split('"""')[1::2]:
                    library.setdefault(tokens(text), label)
    library = {sentence: label for sentence, label in library.items() if sentence[4]}  # five words or more
    return {"tokens": np.array(list(library)), "labels": np.array(list(library.values()))}


def tokens(text: str) -> tuple[int, ...]:
    """Numbers of the first sentence's words: hashed, so that no vocabulary is learned from non-members."""
    words = re.findall(r"[a-z]+", re.split(r"\.\s|\n\s*\n", text.strip())[0].lower())[:WORDS]
    numbers = [1 + zlib.crc32(word.encode()) % (BUCKETS - 1) for word in words]
    return (*numbers, *[0] * (WORDS - len(words)))
