import json
import subprocess
import sys

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from automm.errors import ConfigError, DataError
from automm.runtime.kinds import load_preprocess, save_preprocess
from automm.runtime.texts import TextPreprocess


def words(*, special=False):
    vocabulary = ["[pad]", "[unk]", "[cls]", "the", "cat", "sat", "?"]
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token="[unk]"))
    tokenizer.pre_tokenizer = Whitespace()
    if special:
        tokenizer.post_processor = TemplateProcessing(single="[cls] $A", special_tokens=[("[cls]", 2)])
    return tokenizer


def test_pads_to_the_longest_of_the_call():
    out = TextPreprocess(tokenizer=words(), max_length=8)(["the cat", "the dog sat?"])
    np.testing.assert_array_equal(out["ids"], [[3, 4, 0, 0], [3, 1, 5, 6]])
    np.testing.assert_array_equal(out["mask"], [[True, True, False, False], [True] * 4])
    assert out["ids"].dtype == np.int64
    assert out["mask"].dtype == np.bool_


def test_truncation_counts_special_tokens():
    out = TextPreprocess(tokenizer=words(special=True), max_length=3)(["the cat sat"])
    np.testing.assert_array_equal(out["ids"], [[2, 3, 4]])


def test_missing_and_empty_texts_keep_one_valid_token():
    out = TextPreprocess(tokenizer=words(), max_length=8, pad_id=0)([None, "", "cat"])
    np.testing.assert_array_equal(out["mask"], [[True], [True], [True]])
    np.testing.assert_array_equal(out["ids"], [[0], [0], [4]])
    special = TextPreprocess(tokenizer=words(special=True), max_length=8)([None, "the cat"])
    np.testing.assert_array_equal(special["ids"], [[2, 0, 0], [2, 3, 4]])


def test_fixed_length_and_signature():
    dynamic = TextPreprocess(tokenizer=words(), max_length=6)
    fixed = TextPreprocess(tokenizer=words(), max_length=6, fixed=True)
    assert dynamic.signature["ids"].shape == ("length",)
    assert fixed.signature["ids"].shape == (6,)
    assert fixed(["the cat"])["ids"].shape == (1, 6)
    assert dynamic([])["ids"].shape == (0, 1)


def test_the_callers_tokenizer_is_left_alone():
    tokenizer = words()
    TextPreprocess(tokenizer=tokenizer, max_length=1)
    assert len(tokenizer.encode("the cat sat").ids) == 3


def test_refusals():
    with pytest.raises(ConfigError):
        TextPreprocess(tokenizer=words(), max_length=0)
    with pytest.raises(DataError, match=r"not int \(3\)"):
        TextPreprocess(tokenizer=words(), max_length=4)(["the cat", 3])


def test_saved_and_loaded_is_the_same(tmp_path):
    first = TextPreprocess(tokenizer=words(special=True), max_length=3, pad_id=1, fixed=True)
    saved = json.loads(json.dumps(save_preprocess(first, tmp_path / "text")))
    again = load_preprocess(tmp_path / "text", **saved)
    texts = ["the cat sat?", None, "dog"]
    for name, array in first(texts).items():
        np.testing.assert_array_equal(again(texts)[name], array)


def test_serving_imports_no_torch():
    code = "import automm.runtime.kinds, sys; print({'torch', 'transformers', 'timm', 'open_clip'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
