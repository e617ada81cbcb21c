"""What a weights file says about its network, beside the weights: class names and preprocessing, as JSON."""

import json
from collections.abc import Mapping, Sequence

from saliency_core.errors import ClassifierError
from saliency_core.networks.preprocessing import Preprocessing


def classifier_metadata(name: str, class_names: Sequence[str], preprocessing: Preprocessing) -> dict[str, str]:
    """Return what a weights file says about its network: the keys that `load_classifier` reads, and the name."""
    return {
        "architecture": name,
        "class_names": json.dumps(list(class_names), ensure_ascii=False),
        "input_size": json.dumps(preprocessing.input_size),
        "mean": json.dumps(preprocessing.mean),
        "std": json.dumps(preprocessing.std),
    }


def preprocessing_of(metadata: Mapping[str, str], default: Preprocessing) -> Preprocessing:
    """Read how a network wants its input, and take from `default` what the metadata leaves out.

    Raises
    ------
    ClassifierError
        If the metadata cannot be understood.
    """
    try:
        return Preprocessing(
            input_size=int(json.loads(metadata.get("input_size", str(default.input_size)))),
            mean=tuple(json.loads(metadata["mean"])) if "mean" in metadata else default.mean,
            std=tuple(json.loads(metadata["std"])) if "std" in metadata else default.std,
        )
    except ClassifierError:
        raise
    except (ValueError, TypeError) as error:
        raise ClassifierError(f"the weights file's metadata cannot be understood: {error}") from error


def class_names_of(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """Read the names of the classes; None where the metadata has none.

    Raises
    ------
    ClassifierError
        If the metadata cannot be understood.
    """
    if "class_names" not in metadata:
        return None
    try:
        return tuple(json.loads(metadata["class_names"]))
    except (ValueError, TypeError) as error:
        raise ClassifierError(f"the weights file's class names cannot be understood: {error}") from error
