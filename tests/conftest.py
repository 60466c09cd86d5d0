"""No test may reach a model hub, or leave its logging to the next; golden files change by an explicit flag alone."""

import json
import logging
import os
from pathlib import Path

import pytest

# transformers and huggingface_hub read these when they are first imported
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # files run side by side, a process a core

from weights import effnet, effnet_source, minilm, tiny_bert, tiny_clip, tiny_clip_on_bert

__all__ = ["effnet", "effnet_source", "minilm", "tiny_bert", "tiny_clip", "tiny_clip_on_bert"]

GOLDEN = Path(__file__).parent / "golden"
LONG = ("tests/flow/", "tests/test_plugin_wheel", "tests/test_component_contracts", "tests/export/", "tests/encoders/")


def pytest_addoption(parser):
    parser.addoption("--regenerate-golden", action="store_true", help="rewrite tests/golden from what runs now")


def pytest_collection_modifyitems(items):
    """Files that take long come first, so that no worker is left with one of them while the others have ended."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture(autouse=True)
def logging_as_before():
    """What a command sets up in this process would write into the next test's captured messages, or a closed stream."""
    loggers = [logging.root, logging.getLogger("automm")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        for handler in set(logger.handlers) - set(handlers):
            handler.close()
        logger.handlers[:] = handlers


@pytest.fixture
def golden(request):
    """Compare text, or plain JSON data, with a golden file: `golden("name", data)`."""

    def compare(name, data):
        path = GOLDEN / f"{name}{'.txt' if isinstance(data, str) else '.json'}"
        text = data if isinstance(data, str) else json.dumps(data, indent=1) + "\n"
        if request.config.getoption("--regenerate-golden"):
            path.write_text(text)
        assert text == path.read_text(), f"{path.name} differs; if that is meant: pytest --regenerate-golden"

    return compare
