"""Losses for ratings on continuous scales; ratings that are not known are NaN and do not count."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from affectus.errors import ConfigError
from affectus.nn.losses.concordance import concordance_loss

_PER_VALUE = {"mse": functional.mse_loss, "l1": functional.l1_loss, "smooth_l1": functional.smooth_l1_loss}


def regression_loss(outputs: Tensor, ratings: Tensor, kind: str = "mse") -> Tensor:
    """Loss of outputs (B, D) against ratings (B, D): a scalar, 0 where nothing is known.

    `kind` is "mse", "l1", "smooth_l1" (means over known ratings), "ccc" or "pcc" (1 − mean concordance or Pearson
    correlation of the columns, over rows that are known as a whole). Raises ConfigError for any other.
    """
    outputs, ratings = outputs.float(), ratings.float()
    if kind == "ccc":
        return concordance_loss(outputs, ratings).float()
    if kind == "pcc":
        return _correlation_loss(outputs, ratings)
    if kind not in _PER_VALUE:
        raise ConfigError(f"loss {kind}", "is not known", f"one of {', '.join([*_PER_VALUE, 'ccc', 'pcc'])}")
    known = ~ratings.isnan()
    return _PER_VALUE[kind](outputs[known], ratings[known]) if bool(known.any()) else outputs.sum() * 0


def _correlation_loss(outputs: Tensor, ratings: Tensor) -> Tensor:
    whole = ~ratings.isnan().any(1)
    if int(whole.sum()) < 2:
        return outputs.sum() * 0
    x, y = (values[whole] - values[whole].mean(0) for values in (outputs, ratings))
    return 1 - functional.cosine_similarity(x, y, dim=0).mean()
