"""Scores of predictions against labels, with intervals: numpy arrays in, plain floats out.

Signatures are `metric(truth, prediction or probabilities, ...)`. Rows run along the first axis; NaN, empty input and
wrong shapes raise `ValueError`. Names are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {
    "classification": (
        "accuracy war uar balanced_accuracy macro_f1 weighted_f1 micro_f1 macro_precision weighted_precision confusion "
        "top_k present_columns merged_counts"
    ),
    "multilabel": (
        "multilabel_f1 label_f1 jaccard exact_match hamming_loss weighted_accuracy hit_rate au_f1 auc "
        "average_precision mean_average_precision indicator"
    ),
    "regression": "mae mse rmse pcc ccc srcc plcc concordance",
    "sentiment": "acc2 acc5 acc7 acc_edges sentiment_f1",
    "calibration": "ece mce ace brier nll reliability",
    "recalibration": "softmax sigmoid fit_temperature fit_isotonic",
    "selective": (
        "risk_coverage aurc selective_accuracy threshold_table conformal_limit conformal_sets set_coverage set_size"
    ),
    "agreement": "cohen_kappa fleiss_kappa krippendorff_alpha icc swap_consistency",
    "distributions": (
        "kl_divergence js_divergence soft_cross_entropy cosine_similarity entropy_correlation vote_distribution entropy"
    ),
    "aggregation": "nested_mean pooled_mean by_group",
    "open_vocabulary": (
        "wheel_f1 wheel_precision wheel_recall mode_average wheel_report wheel_reward wheel_hit_rate any_wheel_hit "
        "sentiment_sign"
    ),
    "contingency": "pair_counts class_given_value lift mutual_information cramers_v majority_accuracy",
    "conflict": "subset_means conflict_specificity",
    "word_sets": "word_precision word_recall word_overlap",
    "retrieval": (
        "retrieval_ranks recall_at median_rank mean_rank mrr retrieval_map ndcg fuse_similarities fuse_ranks "
        "layered_recall"
    ),
    "grounding": "span_iou ranked_spans grounding_recall mean_iou recall_table suppress_spans",
    "boxes": "corners box_iou box_giou box_precision matched_boxes perfect_f1_share no_target_accuracy",
    "captions": "words_of bleu rouge cider distinct distinct_sentences subsequence",
    "word_alignment": "meteor",
    "sequences": (
        "transition_counts transition_matrix stationary transition_entropy persistence runs sequence_statistics"
    ),
    "generation": (
        "moments frechet_distance frechet_of_moments flicker psnr ssim sync lag clip_score emotion_accuracy"
    ),
    "annotator_gap": "GapRule gap gap_agreement rounded_mean_mismatches",
    "expressions": "Expression characteristic log_odds exact_association pointwise_information",
    "presence": "presence_report write_presence",
    "reports": "classification_report multilabel_report dimension_report",
    "intervals": "interval confusion_interval bootstrap bootstrap_counts Interval",
    "significance": "paired_permutation paired_interval mcnemar holm benjamini_hochberg",
}
_PUBLIC = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(f"affectus.metrics.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'affectus.metrics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*_PUBLIC, *_MODULES])
