"""Audio models of Hugging Face transformers, by name or folder.

transformers is imported where a model is made: a run that finds all features in the cache needs none.

Shape legend: U distinct clips, L samples, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar

from torch import Tensor, nn

from automm.encoders.encoder import Encoder
from automm.encoders.transformers import create, hub_identity, located
from automm.encoders.tuning import TUNING, Tune, apply_tuning, longest_list
from automm.encoders.weights import Weights, loading, parse_weights
from automm.errors import ConfigError
from automm.runtime.audio import AudioPreprocess
from automm.runtime.preprocess import Preprocess
from automm.space import Space
from automm.types import Features, FeatureSpec, FieldSpec, Modality
from automm_audio.fronts import front_of

DEFAULT_MODEL = "MIT/ast-finetuned-audioset-10-10-0.4593"
# What draws from numpy's global generator, or leaves out layers, where a model is trained.
_RANDOM = {"apply_spec_augment": False, "layerdrop": 0.0}


class AudioTransformers(Encoder):
    """An audio model through AutoModel, fed as its own feature extractor would feed it, in the graph.

    Models that read waveforms (wav2vec2, hubert and their kind; `pooled` is the mean of the tokens within the clip) and
    AST, the Audio Spectrogram Transformer of Gong et al. 2021 (arXiv:2104.01778; `pooled` is what its head reads).

    Options:
        model: a name on the hub or a local folder. Weights from `hf-hub:` and `local-dir:` bring their own model.
        weights: null | default | hf-hub:org/name | local-dir:/path | file:/path. null and `file:` take the
            configurations of the model and of its feature extractor from `model`, null from a folder or the local hub
            cache alone.
        tune: frozen | last_k | full.
        last_k: the blocks that `tune=last_k` trains.
        seconds: the length that clips are cut or padded to; the cost of a clip grows with it.
    """

    MODALITIES: ClassVar[tuple[Modality, ...]] = ("audio",)
    SPACE: ClassVar[Space] = TUNING

    @classmethod
    def fit_preprocess(
        cls,
        field: FieldSpec,
        values: Sequence[Any],
        *,
        model: str = DEFAULT_MODEL,
        weights: str | None = "default",
        seconds: float = 10.0,
        **options: Any,
    ) -> Preprocess:
        """Clips of `seconds` at the rate that the model was trained at.

        Raises:
            ConfigError: the configuration of its feature extractor cannot be loaded.
        """
        return AudioPreprocess(rate=extractor_of(model, parse_weights(weights)).sampling_rate, seconds=seconds)

    @classmethod
    def identity(cls, **options: Any) -> str | None:
        """Of a frozen model from weights; of a model that is a folder, what it holds."""
        decoders = ("soundfile",) if find_spec("soundfile") else ()
        return hub_identity(cls, DEFAULT_MODEL, options, ("transformers", "automm", "numpy", *decoders))

    def __init__(
        self,
        field: FieldSpec,
        preprocess: Preprocess,
        *,
        model: str = DEFAULT_MODEL,
        weights: str | None = "default",
        tune: Tune = "frozen",
        last_k: int = 1,
        seconds: float = 10.0,
    ) -> None:
        super().__init__()
        if not isinstance(preprocess, AudioPreprocess):
            raise ConfigError(f"audio_transformers reads audio, not what {type(preprocess).__name__} makes")
        source = parse_weights(weights)
        self.model: Any = create(model, source)
        config = self.model.config
        for option, off in _RANDOM.items():
            if hasattr(config, option):
                setattr(config, option, off)
        self.front = front_of(extractor_of(model, source), config, preprocess.length)
        self.spec = FeatureSpec(field.name, "audio", config.hidden_size, self.front.tokens, has_tokens=True)
        apply_tuning(self, tune, last_k)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """`waveform` float32 [U, L] and `mask` bool [U, L] -> Features of U clips."""
        mask_UL = inputs["mask"]
        hidden_UND = self.model(**self.front(inputs["waveform"], mask_UL)).last_hidden_state
        return self.front.features(hidden_UND, mask_UL)

    def layers(self) -> Sequence[nn.Module]:
        """The transformer blocks, which come after the convolutions where there are any."""
        return longest_list(getattr(self.model, "encoder", self.model))


def extractor_of(model: str, weights: Weights) -> Any:
    """The feature extractor of transformers that belongs to a model.

    Raises:
        ConfigError: its configuration cannot be loaded.
    """
    import transformers

    where = located(model, weights)
    with loading(f"the feature extractor of {where['pretrained_model_name_or_path']!r}", weights):
        return transformers.AutoFeatureExtractor.from_pretrained(**where)
