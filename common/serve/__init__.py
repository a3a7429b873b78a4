"""A trained system in a folder of its own: written by `save`, and at work in any program after `load`.

    model = load(Path("my-classifier"))
    for answer in model(["what a film", "what a waste of time"]):  # of a task on pairs: [("one", "other"), ...]
        print(answer.label, answer.probability, answer.exit_layer)

A folder holds `settings.json` (what it is, and the SHA-256 of every file), `README.md` (what was measured, and whose
weights these are), `model/` (safetensors and JSON) and, where token ids are read, `tokenizer/`. Importing this package
imports neither what trains nor the papers: of them `load` asks the one that offers the method (`common.serve.home`).
"""

from common.serve.model import Answer, Model, Text, load
from common.serve.readme import Measured
from common.serve.saving import save

__all__ = ["Answer", "Measured", "Model", "Text", "load", "save"]
