"""The networks that settings ask for: by name with weights, or as the fine-tuning or the distillation job left them."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from jobs.errors import SettingsError
from jobs.run.layout import RECORD
from jobs.settings import SaliencySettings
from jobs.storage import files as storage
from saliency_core.errors import ClassifierError
from saliency_core.methods.registry import MULTI_CONTEXT, TAUGHT
from saliency_core.methods.window_network import is_multi_context, load_multi_context
from saliency_core.networks.classifier import Classifier, load_classifier
from saliency_core.networks.metadata import preprocessing_of
from saliency_core.networks.options import PRETRAINED, RANDOM
from saliency_core.networks.own_code import is_own_code
from saliency_core.networks.preprocessing import Preprocessing
from saliency_core.networks.saliency_head import is_student, load_student
from saliency_core.networks.weights import Weights, read_weights

MODEL = "model.safetensors"


@dataclass(frozen=True)
class FineTuned:
    """A network with what is known of it.

    Parameters
    ----------
    architecture : str
        torchvision's name of it.
    weights : Weights
        With class names and preprocessing in the metadata.
    origin : dict
        For the record of a run that uses it: where it lies and, where its own record lies beside it, what it was
        trained on, from what, how, and its errors.
    """

    architecture: str
    weights: Weights
    origin: dict[str, Any]


def read_fine_tuned(uri: str) -> FineTuned:
    """Read the network that a run of the fine-tuning or of the distillation job left.

    Parameters
    ----------
    uri : str
        The run's output, or its model.safetensors wherever it was taken.

    Raises
    ------
    SettingsError
        If there is none, or the file does not say what network it belongs to.
    """
    uri = storage.absolute(uri)
    shown = storage.redacted(uri)
    file = uri if uri.endswith(".safetensors") else storage.join(uri, MODEL)
    folder = file.rpartition("/")[0]
    try:
        if not storage.exists(file):
            is_begun = storage.exists(storage.join(folder, RECORD))
            what = "the run there has not finished" if is_begun else f"looked for {MODEL}"
            raise SettingsError(f"there is no fine-tuned network at {shown}: {what}")
        with storage.LocalCopy(file) as path:
            weights = read_weights(path)
        record = storage.join(folder, RECORD)
        found = json.loads(storage.read_bytes(record)) if storage.exists(record) else {}
    except SettingsError:
        raise
    except Exception as error:  # every storage has errors of its own
        raise SettingsError(f"the network at {shown} cannot be read: {storage.redacted(str(error))}") from error
    architecture = weights.metadata.get("architecture")
    if architecture is None:
        raise SettingsError(f"{shown} does not say what network it is: give it by --model and --weights")
    settings = found.get("settings", {})
    origin: dict[str, Any] = {"uri": shown}
    if found.get("job") == "finetune":
        origin |= {name: found.get(name) for name in ("fingerprint", "images", "errors", "start_weights_source")}
        origin |= {name: settings.get(name) for name in ("dataset", "root", "split", "strategy", "seed")}
        origin |= {"training_images": settings.get("images"), "start_weights": settings.get("weights")}
    if found.get("job") == "train-multi-context":
        origin |= {name: found.get(name) for name in ("fingerprint", "images", "scores", "start_weights_source")}
        origin |= {name: settings.get(name) for name in ("dataset", "root", "split", "seed")}
        origin |= {"training_images": settings.get("images"), "start_weights": settings.get("weights")}
    if found.get("job") == "distil":
        origin |= {name: found.get(name) for name in ("fingerprint", "images", "teacher", "scores")}
        origin |= {name: settings.get(name) for name in ("rounds", "trust", "seed")}
    return FineTuned(architecture, weights, origin)


def with_its_architecture(settings: SaliencySettings, fine_tuned: FineTuned) -> SaliencySettings:
    """Return the settings with the architecture of a fine-tuned network.

    Raises
    ------
    SettingsError
        If they name another one.
    """
    default = SaliencySettings.model
    if settings.model not in (default, fine_tuned.architecture):
        raise SettingsError(
            f"the network at {fine_tuned.origin['uri']} is {fine_tuned.architecture}, not {settings.model}: "
            "leave --model out"
        )
    if is_own_code(fine_tuned.architecture) and settings.model == default:
        # To import a module is to run it, and a file of weights may come from anywhere.
        raise SettingsError(
            f"the network at {fine_tuned.origin['uri']} is code of your own: if you trust that code, name it by "
            f"--model {fine_tuned.architecture}"
        )
    return dataclasses.replace(settings, model=fine_tuned.architecture)


def chosen_classifier(settings: SaliencySettings, fine_tuned: FineTuned | None = None) -> Classifier:
    """Load the classifier that the settings ask for.

    Raises
    ------
    ClassifierError
        If network, weights and classes do not fit each other, or the weights cannot be read.
    SettingsError
        If the class names cannot be read.
    """
    if fine_tuned is not None and is_multi_context(fine_tuned.weights.metadata):
        if settings.method != MULTI_CONTEXT:
            raise SettingsError(
                f"the networks at {fine_tuned.origin['uri']} tell salient windows, and nothing else: "
                f"use them with --method {MULTI_CONTEXT}"
            )
        if settings.input_size not in (None, preprocessing_of(fine_tuned.weights.metadata, Preprocessing()).input_size):
            raise SettingsError(
                "networks that tell salient windows are asked at the size that they were taught at: "
                "leave --input-size out"
            )
        return load_multi_context(settings.model, fine_tuned.weights)
    if fine_tuned is not None and is_student(fine_tuned.weights.metadata) and settings.method != MULTI_CONTEXT:
        return load_student(settings.model, fine_tuned.weights, input_size=settings.input_size, scores=settings.scores)
    if settings.method in TAUGHT:
        needed, job = TAUGHT[settings.method]
        raise SettingsError(f"--method {settings.method} needs {needed}: name one that {job} left by --model-from")
    names = None
    if settings.class_names is not None:
        try:
            text = storage.read_bytes(storage.absolute(settings.class_names)).decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"the class names {settings.class_names} cannot be read: {error}") from error
        names = [line.strip() for line in text.splitlines() if line.strip()]
    return load_classifier(
        settings.model,
        fine_tuned.weights if fine_tuned else weights_at(settings.weights),
        num_classes=settings.num_classes,
        class_names=names,
        input_size=settings.input_size,
        scores=settings.scores,
    )


def weights_at(source: str) -> str | Weights:
    """Read weights from a URI; "pretrained" and "random" stay as they are.

    Raises
    ------
    ClassifierError
        If they cannot be read.
    """
    if source in (PRETRAINED, RANDOM):
        return source
    try:
        with storage.LocalCopy(source) as path:
            return read_weights(path)
    except (OSError, ImportError) as error:
        raise ClassifierError(f"the weights {source} cannot be read: {error}") from error
