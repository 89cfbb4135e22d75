"""Matrices of a model's layers."""

from __future__ import annotations

from rerank.evaluation.floor import largest, layer_matrices, operations

SHAPES = {
    "bert.embeddings.word_embeddings.weight": [1000, 8],
    "bert.encoder.layer.0.attention.self.query.weight": [8, 8],
    "bert.encoder.layer.0.attention.self.query.bias": [8],
    "bert.encoder.layer.11.intermediate.dense.weight": [32, 8],
    "layers.1.mlp.Wo.weight": [8, 16],
    "h.2.attn.weight": [4, 4],
    "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight": [8, 8],
    "classifier.weight": [8, 8],
}


def test_matrices_of_the_layers_are_those_that_every_token_passes() -> None:
    assert layer_matrices(SHAPES) == [(8, 8), (32, 8), (8, 16), (4, 4)]


def test_operations_are_two_for_each_number_and_token() -> None:
    assert operations([(8, 8), (32, 8)], tokens=10) == 2 * 10 * (64 + 256)


def test_the_largest_matrix_is_the_one_with_the_most_numbers() -> None:
    assert largest([(8, 8), (32, 8), (8, 64), (99, 2)]) == (8, 64)
