"""Encoders: BERT and RoBERTa, for embeddings, reranking and classification. They keep nothing of a request.

vLLM gives such a model no KV cache: it uses its weights and what a step needs, whatever gpuMemoryUtilization says
(`_initialize_kv_caches` of vllm/v1/engine/core.py, 0.32). Layers and heads are those of bert.py and roberta.py in
vllm/model_executor/models.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from llmservice_operator.gpu_memory.architectures.stack import layer_count
from llmservice_operator.gpu_memory.config import Config, NotModelled
from llmservice_operator.gpu_memory.matrix import Matrix, Part
from llmservice_operator.gpu_memory.model import Builder, Cut, Layer, Model
from llmservice_operator.gpu_memory.pieces import Matrices, attention, feed_forward, hidden_size, norms

LABELS = 2
"""Classes of a classifier: a thousand more take 4 MB."""


def _embeds(config: Config, cut: Cut) -> Model:
    return _encoder(config, cut, ())


def _classifies(config: Config, cut: Cut) -> Model:
    """A dense layer over one token and the classifier. Both are computed in 32 bits, and whole on each GPU."""
    hidden = hidden_size(config)
    dense = Matrix("dense", Part.HEAD, hidden + 1, hidden, wide=True)
    return _encoder(config, cut, (dense, Matrix("classifier", Part.HEAD, LABELS, hidden, wide=True)))


def _encoder(config: Config, cut: Cut, heads: Matrices) -> Model:
    """Raises NotModelled or Indivisible."""
    positions = config.word("position_embedding_type") or "absolute"
    if positions != "absolute":
        raise NotModelled(f"the operator knows encoders with absolute positions only, not {positions[:40]}")
    hidden, inner = hidden_size(config), config.number("intermediate_size")

    def layer(index: int) -> Layer:
        prefix = f"encoder.layer.{index}"
        attending, _ = attention(config, cut, f"{prefix}.attention", bias=True, out_bias=True)
        feeding = feed_forward(prefix, cut, hidden, inner, gated=False, bias=True)
        return Layer((*attending, *feeding, *norms(prefix, hidden, 2, bias=True)))

    tables = {
        "word_embeddings": config.number("vocab_size"),
        "position_embeddings": config.number("max_position_embeddings"),
        "token_type_embeddings": config.maybe("type_vocab_size") or 2,
    }
    return Model(
        architecture=str(next(iter(config.items("architectures")), "")),
        layers=tuple(layer(index) for index in range(layer_count(config))),
        first=(
            *(Matrix(name, Part.EMBEDDING, cut.vocabulary(rows), hidden) for name, rows in tables.items()),
            *norms("embeddings", hidden, 1, bias=True),
        ),
        last=heads,
        tied=True,
        hidden=hidden,
        vocabulary=0,
    )


BUILDERS: Mapping[str, Builder] = MappingProxyType(
    {
        **dict.fromkeys(
            ("BertModel", "RobertaModel", "XLMRobertaModel", "RobertaForMaskedLM", "XLMRobertaForMaskedLM"), _embeds
        ),
        **dict.fromkeys(
            (
                "BertForSequenceClassification",
                "RobertaForSequenceClassification",
                "XLMRobertaForSequenceClassification",
            ),
            _classifies,
        ),
    }
)
