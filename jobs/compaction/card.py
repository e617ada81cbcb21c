"""The card of a compacted run as a data set of the Hugging Face hub: push the folder, and it loads by name."""

from jobs.compaction.tables import MAPS, SCORES
from jobs.reporting.runs import Run

_TEMPLATE = """---
configs:
- config_name: {scores}
  data_files: {scores}/*.parquet
  default: true
- config_name: {maps}
  data_files: {maps}/*.parquet
tags:
- saliency
---

# Saliency maps by {method}

Stages: {stages}. `{scores}` has one row for every image, sorted by `image_id`: where it came from, what became of it,
the recognised class and the scores; `maps_file` names the file below `{maps}` in which its maps lie, as PNG, with the
histograms of their values inside and outside the mask.

```python
from datasets import load_dataset
scores = load_dataset("FOLDER", "{scores}", split="train")
maps = load_dataset("FOLDER", "{maps}", split="train")
```
"""


def dataset_card(run: Run) -> str:
    """Return the content of ``README.md``."""
    stages = ", ".join(f"`{stage}`" for stage in run.stages)
    return _TEMPLATE.format(scores=SCORES, maps=MAPS, method=run.method, stages=stages)
