"""Where models are: the one inside the package, a folder, or the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from wasl.errors import ModelError

EMBEDDED = "embedded"
EMBEDDED_FOLDER = Path(__file__).parent / "assets" / "embedded"

# All that is ever fetched: no pickled weights and no code.
FILES = ("*.json", "*.safetensors", "*.onnx", "*.txt", "*.model", "README.md")
GRAPHS = ("words.onnx", "pairs.onnx")  # of a model folder: what ONNX Runtime reads instead of the weights


def resolve(name: str | Path) -> Path:
    """The folder of a model or encoder.

    Args:
        name: `embedded`, a folder, or a hub id such as `aubmindlab/bert-base-arabertv02`. A model that was fetched
            before is found without the network.

    Raises:
        ModelError: there is no such folder, and the hub has no such model or cannot be reached.
    """
    if name == EMBEDDED:
        return EMBEDDED_FOLDER
    if Path(name).is_dir():
        return Path(name)
    text = str(name)
    if text.count("/") != 1 or text.startswith((".", "/", "~")):
        raise ModelError(f"{text}: no such folder, and no hub id (OWNER/NAME); give a model folder or `embedded`")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        cached = Path(snapshot_download(text, allow_patterns=list(FILES), local_files_only=True))
        if (cached / "config.json").exists() and any(cached.glob("*.safetensors")):
            return cached  # whole: other programs may have fetched a part of it only
    except (LocalEntryNotFoundError, HFValidationError):
        pass
    try:
        return Path(snapshot_download(text, allow_patterns=list(FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise ModelError(
            f"{text}: not a folder here, and not to be had from the hub ({type(error).__name__}); "
            "check the name and the connection, or use `embedded`, which needs no network"
        ) from error
